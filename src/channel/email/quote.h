#pragma once
// What somebody has written in a mail, without what their program added: the history of the thread below ("On …
// wrote:",
// "-----Original Message-----", lines with ">"), and the signature behind "-- ". Quotations that are answered line by
// line stay: without them the answer makes no sense. Heuristics: where nothing would be left, nothing is taken away.

#include <string>
#include <string_view>

namespace talaria::mail {

[[nodiscard]] std::string own_words(std::string_view text);

}  // namespace talaria::mail
