#pragma once
// The command line's side of the control socket (api/control.h). Synchronous: a command has nothing else to do
// meanwhile.

#include <boost/json.hpp>
#include <functional>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "config/paths.h"

namespace talaria::cli {

inline constexpr Millis store_patience{10'000};  // for an answer that comes out of the store

// One call. The answer's JSON when the status is 2xx; else its problem document's detail as an error of a fitting kind.
// `unavailable`: nobody answers on the socket, i.e. the gateway does not run (or hangs: `timeout`).
[[nodiscard]] Result<boost::json::value> control_call(const ProfilePaths& paths, std::string method, std::string target,
                                                      const boost::json::object& body, Millis timeout);

// A streamed chat completion over the control socket; `on_text` gets the answer's pieces.
[[nodiscard]] Result<> control_chat(const ProfilePaths& paths, const boost::json::object& body, Millis timeout,
                                    const std::function<void(std::string_view)>& on_text);

}  // namespace talaria::cli
