"""A library for LD_PRELOAD that makes one function of libc hang for ever, once a file says so (and then says that it does): a disk that stops answering in the middle
of a write, name servers that are away, an event loop that stands still."""

import shutil
import subprocess

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

static void hang_if_told(const char* what) {
  char path[512];
  const char* directory = getenv("STUCK");
  if (directory == NULL) return;
  snprintf(path, sizeof path, "%s/%s", directory, what);
  if (access(path, F_OK) != 0) return;
  snprintf(path, sizeof path, "%s/%s.reached", directory, what);
  FILE* reached = fopen(path, "w");  // refused in a sandbox
  if (reached != NULL) fclose(reached);
  for (;;) pause();
}
#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

int fdatasync(int fd) { hang_if_told("disk"); return REAL(fdatasync)(fd); }
int fsync(int fd) { hang_if_told("disk"); return REAL(fsync)(fd); }
int epoll_wait(int fd, struct epoll_event* events, int most, int timeout) {
  hang_if_told("loop");
  return REAL(epoll_wait)(fd, events, most, timeout);
}
int getaddrinfo(const char* node, const char* service, const struct addrinfo* hints, struct addrinfo** result) {
  hang_if_told("names");
  return REAL(getaddrinfo)(node, service, hints, result);
}
"""


def build(directory):
    """Compiles it into `directory`; returns its path."""
    compiler = next(c for c in ("clang-19", "clang", "gcc", "cc") if shutil.which(c))
    source, library = directory / "stuck.c", directory / "stuck.so"
    source.write_text(SOURCE)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library
