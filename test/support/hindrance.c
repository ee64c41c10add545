/* Preloaded into a gateway under test (LD_PRELOAD): hinders it on demand, as a bug, a dying disk or a wrong clock would.
   HINDRANCE names a directory; a file in it that appears is the order:

     block   the event loop takes the file and stands still for ever, asleep
     spin    the same, busy
     disk    while the file is there, writes and syncs of other threads than the first take for ever
     later   while the file is there, it is a day later;   earlier: a day earlier

   Only `talaria … run` is hindered: the unit's hooks inherit the environment, too. Built by test/lab/hindrance.py. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static char directory[256];

__attribute__((constructor)) static void begin(void) {
  const char* value = getenv("HINDRANCE");
  char line[4096] = {0};
  int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
  if (value == NULL || fd < 0) return;
  long n = read(fd, line, sizeof line - 1);
  close(fd);
  for (long at = 0; at < n; at += (long)strlen(line + at) + 1) {
    if (strcmp(line + at, "run") == 0) snprintf(directory, sizeof directory, "%s", value);
  }
}

static int ordered(const char* what, int take) {
  char path[300];
  if (directory[0] == 0) return 0;
  snprintf(path, sizeof path, "%s/%s", directory, what);
  return (take ? unlink(path) : access(path, F_OK)) == 0;
}

static int first_thread(void) { return syscall(SYS_gettid) == getpid(); }

/* The loop sleeps in here as long as nothing happens: it is woken so that it sees its orders. */
int epoll_wait(int fd, struct epoll_event* events, int most, int timeout) {
  static int (*real)(int, struct epoll_event*, int, int);
  if (real == NULL) real = (int (*)(int, struct epoll_event*, int, int))dlsym(RTLD_NEXT, "epoll_wait");
  if (!first_thread() || directory[0] == 0) return real(fd, events, most, timeout);
  for (;;) {
    if (ordered("block", 1))
      for (;;) pause();
    if (ordered("spin", 1))
      for (volatile long turns = 0;; ++turns) {
      }
    int step = timeout >= 0 && timeout < 50 ? timeout : 50;
    int n = real(fd, events, most, step);
    if (n != 0 || (timeout >= 0 && (timeout -= step) <= 0)) return n;
  }
}

static void slow_disk(void) {
  const struct timespec moment = {0, 20000000};
  while (!first_thread() && ordered("disk", 0)) syscall(SYS_nanosleep, &moment, NULL);
}

int fdatasync(int fd) {
  slow_disk();
  return (int)syscall(SYS_fdatasync, fd);
}
int fsync(int fd) {
  slow_disk();
  return (int)syscall(SYS_fsync, fd);
}
ssize_t pwrite64(int fd, const void* data, size_t size, off64_t at) {
  slow_disk();
  return syscall(SYS_pwrite64, fd, data, size, at);
}
ssize_t pwrite(int fd, const void* data, size_t size, off_t at) {
  slow_disk();
  return syscall(SYS_pwrite64, fd, data, size, at);
}

int clock_gettime(clockid_t clock, struct timespec* now) {
  int result = (int)syscall(SYS_clock_gettime, clock, now);
  if (clock == CLOCK_REALTIME) {
    if (ordered("later", 0)) now->tv_sec += 86400;
    if (ordered("earlier", 0)) now->tv_sec -= 86400;
  }
  return result;
}
