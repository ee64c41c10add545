/* Preloaded into a gateway under test (LD_PRELOAD): its clocks run as fast as the test says, so that an hour is a minute.

   TEST_CLOCK names a file of four numbers (struct order below), which the test writes and everybody maps: at `since` on the machine's
   monotonic clock the gateway was `ahead` of it, and since then its time has run at `rate`. What asks for the time is told the gateway's;
   what waits waits accordingly shorter, and a wait that has begun notices a new rate. Only `talaria … run` is concerned.

   Not concerned: timers inside the kernel (TCP's repetitions) and inside glibc (the name servers' timeouts). Built by fast_clock.py. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct order {
  uint64_t turn; /* odd: being written */
  int64_t since;
  int64_t ahead;
  double rate;
};

enum { second = 1000000000, look = 10000000 /* ns between two looks for a new rate */, most_timers = 4096 };

static const volatile struct order* shared;
static int64_t due[most_timers]; /* by descriptor, on the gateway's monotonic clock; 0: not armed */
static double armed_at[most_timers];

static int (*real_clock_gettime)(clockid_t, struct timespec*);
static int (*real_epoll_wait)(int, struct epoll_event*, int, int);
static int (*real_timerfd_settime)(int, int, const struct itimerspec*, struct itimerspec*);
static int (*real_clockwait)(pthread_cond_t*, pthread_mutex_t*, clockid_t, const struct timespec*);
static int (*real_timedwait)(pthread_cond_t*, pthread_mutex_t*, const struct timespec*);
static int (*real_nanosleep)(clockid_t, int, const struct timespec*, struct timespec*);
static int (*real_poll)(struct pollfd*, nfds_t, int);

static int is_gateway(void) {
  char line[4096] = {0};
  int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC), found = 0;
  if (fd < 0) return 0;
  long n = read(fd, line, sizeof line - 1);
  close(fd);
  for (long at = 0; at < n; at += (long)strlen(line + at) + 1) found |= strcmp(line + at, "run") == 0;
  return found;
}

static void find(void* into, const char* name) {
  void* found = dlsym(RTLD_NEXT, name);
  memcpy(into, &found, sizeof found);
}

__attribute__((constructor)) static void begin(void) {
  if (real_clock_gettime != NULL) return;
  find(&real_epoll_wait, "epoll_wait");
  find(&real_timerfd_settime, "timerfd_settime");
  find(&real_clockwait, "pthread_cond_clockwait");
  find(&real_timedwait, "pthread_cond_timedwait");
  find(&real_nanosleep, "clock_nanosleep");
  find(&real_poll, "poll");
  find(&real_clock_gettime, "clock_gettime");
  const char* name = getenv("TEST_CLOCK");
  int fd = name != NULL && is_gateway() ? open(name, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void* at = mmap(NULL, sizeof(struct order), PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (at == MAP_FAILED) abort();
  shared = at;
}

static int64_t nanoseconds(const struct timespec* t) { return t->tv_sec * (int64_t)second + t->tv_nsec; }

static struct timespec as_timespec(int64_t ns) {
  if (ns < 0) ns = 0;
  return (struct timespec){.tv_sec = ns / second, .tv_nsec = ns % second};
}

static int64_t machine_time(void) {
  struct timespec now;
  real_clock_gettime(CLOCK_MONOTONIC, &now);
  return nanoseconds(&now);
}

static double rate(void) { return shared == NULL ? 1 : shared->rate; }

/* How far the gateway is ahead of the machine. */
static int64_t ahead(void) {
  for (;;) {
    const uint64_t turn = shared->turn;
    __sync_synchronize();
    const struct order order = {.since = shared->since, .ahead = shared->ahead, .rate = shared->rate};
    __sync_synchronize();
    if ((turn & 1) == 0 && turn == shared->turn)
      return order.ahead + (int64_t)((double)(machine_time() - order.since) * (order.rate - 1));
  }
}

static int64_t gateway_time(void) { return machine_time() + ahead(); }

int clock_gettime(clockid_t id, struct timespec* now) {
  if (real_clock_gettime == NULL) begin();
  const int result = real_clock_gettime(id, now);
  const int runs = id == CLOCK_REALTIME || id == CLOCK_MONOTONIC || id == CLOCK_BOOTTIME || id == CLOCK_REALTIME_COARSE ||
                   id == CLOCK_MONOTONIC_COARSE || id == CLOCK_MONOTONIC_RAW;
  if (result == 0 && shared != NULL && runs) *now = as_timespec(nanoseconds(now) + ahead());
  return result;
}

int gettimeofday(struct timeval* restrict now, void* restrict zone) {
  struct timespec t;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &t);
  *now = (struct timeval){.tv_sec = t.tv_sec, .tv_usec = t.tv_nsec / 1000};
  return 0;
}

time_t time(time_t* into) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  if (into != NULL) *into = t.tv_sec;
  return t.tv_sec;
}

static void arm(int fd) {
  const double now = rate();
  const int64_t left = due[fd] - gateway_time();
  const int64_t wait = left <= 0 ? 1 : (int64_t)((double)left / now) + 1;
  const struct itimerspec value = {.it_value = as_timespec(wait)};
  armed_at[fd] = now;
  real_timerfd_settime(fd, 0, &value, NULL);
}

int timerfd_settime(int fd, int flags, const struct itimerspec* value, struct itimerspec* old) {
  if (real_timerfd_settime == NULL) begin();
  if (shared == NULL || fd >= most_timers) return real_timerfd_settime(fd, flags, value, old);
  const int64_t wait = nanoseconds(&value->it_value);
  due[fd] = 0;
  /* A point in the past means "now", whatever the clock. */
  if (wait == 0 || (flags & TFD_TIMER_ABSTIME) != 0) return real_timerfd_settime(fd, flags, value, old);
  if (nanoseconds(&value->it_interval) != 0) abort(); /* nobody does that here */
  due[fd] = gateway_time() + wait;
  if (old != NULL) memset(old, 0, sizeof *old);
  arm(fd);
  return 0;
}

int epoll_wait(int fd, struct epoll_event* events, int most, int timeout) {
  if (real_epoll_wait == NULL) begin();
  if (shared == NULL) return real_epoll_wait(fd, events, most, timeout);
  const int64_t end = timeout < 0 ? INT64_MAX : gateway_time() + timeout * (int64_t)1000000;
  for (;;) {
    const double now = rate();
    for (int timer = 0; timer < most_timers; ++timer)
      if (due[timer] != 0 && armed_at[timer] != now) arm(timer);
    const int64_t left = end - gateway_time();
    const int last = left <= (int64_t)(look * now);
    const int n = real_epoll_wait(fd, events, most, last ? (int)(left <= 0 ? 0 : (double)left / now / 1e6 + 1) : look / 1000000);
    if (n != 0 || (last && timeout >= 0)) return n;
  }
}

/* Waits a moment at most, and reports a wake-up without a reason where that was too early: every caller must expect those. */
static int wait_on(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t id, const struct timespec* until) {
  struct timespec now;
  clock_gettime(id, &now);
  const int64_t left = (int64_t)((double)(nanoseconds(until) - nanoseconds(&now)) / rate());
  const struct timespec end = as_timespec(machine_time() + (left < look ? left : look));
  const int result = real_clockwait(condition, mutex, CLOCK_MONOTONIC, &end);
  return result == ETIMEDOUT && left > look ? 0 : result;
}

int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t id, const struct timespec* until) {
  if (real_clockwait == NULL) begin();
  return shared == NULL ? real_clockwait(condition, mutex, id, until) : wait_on(condition, mutex, id, until);
}

int pthread_cond_timedwait(pthread_cond_t* restrict condition, pthread_mutex_t* restrict mutex, const struct timespec* restrict until) {
  if (real_timedwait == NULL) begin();
  return shared == NULL ? real_timedwait(condition, mutex, until) : wait_on(condition, mutex, CLOCK_REALTIME, until);
}

int clock_nanosleep(clockid_t id, int flags, const struct timespec* how_long, struct timespec* left) {
  if (real_nanosleep == NULL) begin();
  if (shared == NULL || (flags & TIMER_ABSTIME) != 0) return real_nanosleep(id, flags, how_long, left);
  const struct timespec shorter = as_timespec((int64_t)((double)nanoseconds(how_long) / rate()));
  return real_nanosleep(id, flags, &shorter, left);
}

int nanosleep(const struct timespec* how_long, struct timespec* left) {
  const int error = clock_nanosleep(CLOCK_REALTIME, 0, how_long, left);
  errno = error;
  return error == 0 ? 0 : -1;
}

int poll(struct pollfd* fds, nfds_t count, int timeout) {
  if (real_poll == NULL) begin();
  return real_poll(fds, count, shared == NULL || timeout <= 0 ? timeout : (int)(timeout / rate()) + 1);
}
