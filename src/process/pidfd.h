#pragma once
// <sys/pidfd.h> with C linkage: glibc 2.36 forgot __BEGIN_DECLS there (mended in 2.37), so that C++ looks for mangled
// names.

#include <fcntl.h>
#include <signal.h>
#include <sys/types.h>

extern "C" {
#include <sys/pidfd.h>
}
