#pragma once
// What the tracer knows of the process under test: /proc and its memory.

#include <sys/ptrace.h>
#include <sys/types.h>

#include <cstdint>
#include <string>

#include "calls.h"

namespace crash {

// Makes the kernel stop the calling process and its children at the calls of calls.h; without a tracer those calls
// fail (seccomp(2), SECCOMP_RET_TRACE). False: errno says why.
bool install_filter();

using SyscallInfo = __ptrace_syscall_info;
SyscallInfo syscall_info(pid_t thread);

pid_t process_of(pid_t thread);
// Where a descriptor leads ("/a/file", "socket:[1]"); empty: nowhere.
std::string descriptor_target(pid_t thread, int descriptor);

// What one call is about, for the record: "INODE POSITION APPENDS TARGET\0" and then the bytes that it writes, or the
// paths that it names, each ended by a zero byte. POSITION is where it writes, the size that it cuts to, or the flags
// of an open.
std::string describe(pid_t thread, const Call& call, const std::uint64_t* arguments);

// Does this call count? Reads of files and the closing of files that are only read don't.
bool is_point(pid_t thread, const Call& call, const std::uint64_t* arguments);

}  // namespace crash
