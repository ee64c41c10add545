#pragma once
// Errors are values. A function that can fail returns Result<T>; its Error says what was tried, on what, and why it
// failed, in words an operator can act on. Exceptions mean bugs (or cancellation, which unwinds a coroutine).

#include <expected>
#include <string>
#include <utility>

namespace talaria {

// What a caller may do about an error; the text is for people.
enum class ErrorKind {
  invalid,      // the input is wrong; trying again can't help
  not_found,    // the thing named does not exist
  permission,   // the operating system or the peer refused us
  conflict,     // somebody else holds it, or it exists already
  unavailable,  // may pass: try again later (network, disk full, busy)
  timeout,      // a deadline ran out
  limit,        // a bound of ours was reached
  cancelled,    // somebody no longer wants the result
  internal,     // a bug or a broken invariant
};

struct Error {
  ErrorKind kind = ErrorKind::internal;
  std::string what;  // one line, no trailing full stop or newline
};

template <class T = void>
using Result = std::expected<T, Error>;

[[nodiscard]] inline std::unexpected<Error> fail(ErrorKind kind, std::string what) {
  return std::unexpected(Error{kind, std::move(what)});
}

// Error from errno: "open /x/y: Permission denied". The kind follows errno (EACCES, EPERM → permission; ENOENT →
// not_found; EAGAIN, ENOSPC, EROFS, EMFILE … → unavailable; ETIMEDOUT → timeout; EEXIST, EADDRINUSE → conflict).
[[nodiscard]] std::unexpected<Error> fail_errno(int err, std::string_view tried);

// Stable lower-case name of a kind ("not_found"), for JSON and logs.
[[nodiscard]] std::string_view to_string(ErrorKind kind);

}  // namespace talaria
