#pragma once
// What a proven hook says: which event it is, who caused it, and the text that is made of it. The body is JSON (or a
// form with the JSON in `payload`, GitHub's other content type); texts are bounded, and control characters go.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

#include "base/result.h"
#include "channel/hook.h"
#include "channel/webhook/signature.h"
#include "config/placeholders.h"

namespace talaria::webhook {

inline constexpr std::size_t max_value = 16 * 1024;  // bytes that fill one place
inline constexpr std::size_t max_text = 64 * 1024;   // of a whole text

struct Report {
  std::string id;      // of the delivery
  std::string event;   // github "issues.opened", gitlab "merge_request.open", standard its `type`; may be empty
  std::string sender;  // who caused it; may be empty
  boost::json::value body;
};

// invalid: the body is no JSON.
[[nodiscard]] Result<Report> read_report(Scheme scheme, std::string id, const HookRequest& request);

// "issues" wants "issues" and "issues.opened". Nothing listed: everything but GitHub's ping, which only says that the
// hook works.
[[nodiscard]] bool is_wanted(Scheme scheme, std::string_view event, std::span<const std::string> listed);

// Fills the places; what is missing or null becomes empty, objects and arrays JSON.
[[nodiscard]] std::string render(std::span<const TextPiece> pieces, const Report& report);

// The text where no prompt is configured: what happened where, by whom, and the document.
[[nodiscard]] std::string describe(std::string_view channel, const Report& report, bool with_document);

}  // namespace talaria::webhook
