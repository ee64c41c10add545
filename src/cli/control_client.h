#pragma once
// The command line's side of the control socket (api/control.h). Synchronous: a command has nothing else to do
// meanwhile.

#include <boost/json.hpp>
#include <expected>
#include <functional>
#include <string>
#include <utility>

#include "base/result.h"
#include "base/time.h"
#include "config/paths.h"

namespace talaria::cli {

inline constexpr Millis store_patience{10'000};  // for an answer that comes out of the store

// How the command line speaks to that gateway: "talaria -p work".
[[nodiscard]] std::string talaria_for(const ProfilePaths& paths);

struct ControlError : Error {
  // NOLINTNEXTLINE(google-explicit-constructor): every error is one of these
  ControlError(Error error, bool may_be_done = false) : Error(std::move(error)), maybe_done(may_be_done) {}
  bool maybe_done;  // the request was sent and may have been taken: asking again may do it twice
};
// Prints it as report(const Error&) does. The exit code is `unclear` for what may be done.
int report(const ControlError& error);

template <class T>
using ControlResult = std::expected<T, ControlError>;

// One call. The answer's JSON when the status is 2xx; else its problem document's detail as an error of a fitting kind.
// `unavailable`: nobody answers on the socket, i.e. the gateway does not run (or hangs: `timeout`).
[[nodiscard]] ControlResult<boost::json::value> control_call(const ProfilePaths& paths, std::string method,
                                                             std::string target, const boost::json::object& body,
                                                             Millis timeout);

// A streamed chat completion over the control socket; `on_text` gets the answer's pieces.
[[nodiscard]] ControlResult<void> control_chat(const ProfilePaths& paths, const boost::json::object& body,
                                               Millis timeout, const std::function<void(std::string_view)>& on_text);

}  // namespace talaria::cli
