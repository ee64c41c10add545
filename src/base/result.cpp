#include "base/result.h"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>

namespace talaria {

std::unexpected<Error> fail_errno(int err, std::string_view tried) {
  if (err == ELIBACC)  // base/libsystemd.cpp
    return fail(ErrorKind::internal,
                fmt::format("{}: libsystemd.so.0 can't be loaded; install it (Debian's package libsystemd0)", tried));
  ErrorKind kind = ErrorKind::internal;
  switch (err) {
    case EACCES:
    case EPERM: kind = ErrorKind::permission; break;
    case ENOENT:
    case ESRCH: kind = ErrorKind::not_found; break;
    case EEXIST:
    case EADDRINUSE: kind = ErrorKind::conflict; break;
    case ESTALE:
    case ETIMEDOUT: kind = ErrorKind::timeout; break;
    case EINVAL:
    case ENAMETOOLONG:
    case ENOTDIR:
    case EISDIR: kind = ErrorKind::invalid; break;
    case EADDRNOTAVAIL:  // an interface that has no address yet
    case EAGAIN:
    case EBUSY:
    case ECONNREFUSED:
    case ECONNRESET:
    case EHOSTUNREACH:
    case EINTR:
    case EIO:
    case EMFILE:
    case ENETDOWN:
    case ENETUNREACH:
    case ENFILE:
    case ENOBUFS:
    case ENOLCK:
    case ENOMEM:
    case ENOSPC:
    case ENOTCONN:
    case EDQUOT:
    case EPIPE:
    case EROFS: kind = ErrorKind::unavailable; break;
    default: break;
  }
  return fail(kind, fmt::format("{}: {}", tried, std::generic_category().message(err)));
}

std::string_view to_string(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::invalid: return "invalid";
    case ErrorKind::not_found: return "not_found";
    case ErrorKind::permission: return "permission";
    case ErrorKind::conflict: return "conflict";
    case ErrorKind::unavailable: return "unavailable";
    case ErrorKind::timeout: return "timeout";
    case ErrorKind::limit: return "limit";
    case ErrorKind::cancelled: return "cancelled";
    case ErrorKind::internal: return "internal";
  }
  return "internal";
}

}  // namespace talaria
