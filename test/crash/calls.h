#pragma once
// The system calls at which a process is worth killing.
//
// Death leaves behind what is in files and what others have been told or have had taken from them: sockets, pipes,
// other processes. A process changes those by the calls below and by no others, so dying anywhere between two of them
// is the same as dying right before the second. Memory, clocks, futexes, polling, reading of files and file locks
// (which go with the process) need no points of their own. Shared memory is one exception: SQLite's -shm file, which
// the next opener builds anew from the log.

#include <sys/syscall.h>

#include <array>
#include <string_view>

namespace crash {

enum class What {
  name,       // changes names or permissions: always a point
  data,       // writes or syncs: always a point
  open,       // a point when it may create, cut or write
  descriptor  // a point on sockets and pipes, and on what can be written
};

struct Call {
  int number;
  std::string_view name;
  What what;
};

inline constexpr std::array calls = {
    Call{SYS_write, "write", What::data},           Call{SYS_pwrite64, "pwrite64", What::data},
    Call{SYS_writev, "writev", What::data},         Call{SYS_pwritev, "pwritev", What::data},
    Call{SYS_sendto, "sendto", What::data},         Call{SYS_sendmsg, "sendmsg", What::data},
    Call{SYS_sendfile, "sendfile", What::data},     Call{SYS_fsync, "fsync", What::data},
    Call{SYS_fdatasync, "fdatasync", What::data},   Call{SYS_sync_file_range, "sync_file_range", What::data},
    Call{SYS_ftruncate, "ftruncate", What::data},   Call{SYS_fallocate, "fallocate", What::data},
    Call{SYS_openat, "openat", What::open},         Call{SYS_read, "read", What::descriptor},
    Call{SYS_readv, "readv", What::descriptor},     Call{SYS_recvfrom, "recvfrom", What::descriptor},
    Call{SYS_recvmsg, "recvmsg", What::descriptor}, Call{SYS_close, "close", What::descriptor},
    Call{SYS_connect, "connect", What::name},       Call{SYS_bind, "bind", What::name},
    Call{SYS_listen, "listen", What::name},         Call{SYS_accept4, "accept4", What::name},
    Call{SYS_shutdown, "shutdown", What::name},     Call{SYS_renameat, "renameat", What::name},
    Call{SYS_renameat2, "renameat2", What::name},   Call{SYS_linkat, "linkat", What::name},
    Call{SYS_symlinkat, "symlinkat", What::name},   Call{SYS_unlinkat, "unlinkat", What::name},
    Call{SYS_mkdirat, "mkdirat", What::name},       Call{SYS_fchmod, "fchmod", What::name},
    Call{SYS_fchmodat, "fchmodat", What::name},     Call{SYS_kill, "kill", What::name},
    Call{SYS_tgkill, "tgkill", What::name},         Call{SYS_pidfd_send_signal, "pidfd_send_signal", What::name},
    Call{SYS_execve, "execve", What::name},         Call{SYS_exit_group, "exit_group", What::name},
#ifdef SYS_rename  // not on architectures that came late
    Call{SYS_rename, "rename", What::name},         Call{SYS_link, "link", What::name},
    Call{SYS_symlink, "symlink", What::name},       Call{SYS_unlink, "unlink", What::name},
    Call{SYS_mkdir, "mkdir", What::name},           Call{SYS_rmdir, "rmdir", What::name},
    Call{SYS_chmod, "chmod", What::name},           Call{SYS_open, "open", What::open},
#endif
};

}  // namespace crash
