#pragma once
// What goes out with a reply, as the outbox keeps it: a JSON array of {path, name, type, size}.

#include <string>
#include <vector>

#include "channel/channel.h"

namespace talaria {

// No attachments: empty.
[[nodiscard]] std::string format_attachments(const std::vector<Attachment>& attachments);
// Anything else than what format_attachments() wrote: none.
[[nodiscard]] std::vector<Attachment> parse_attachments(const std::string& text);

}  // namespace talaria
