#pragma once
// HTML to the text that a person would read: for mail without a plain part. No renderer: tags become line breaks or
// nothing, the target of a link stands behind its text, quotations (blockquote) are marked with "> " as in plain mail.
// Linear in its input, whatever that is.

#include <string>
#include <string_view>

namespace talaria::mail {

[[nodiscard]] std::string html_to_text(std::string_view html);

}  // namespace talaria::mail
