#pragma once
// Which names are the same. IRC grew up in Finland, where {}|^ are the lower case of []\~; servers say in CASEMAPPING
// (RPL_ISUPPORT, draft-brocklesby-irc-isupport) whether they still think so.

#include <string>
#include <string_view>

namespace talaria::irc {

enum class CaseMapping { ascii, rfc1459, strict_rfc1459 };

// "ascii", "rfc1459", "strict-rfc1459"; anything else counts as ascii, which never takes two names for one wrongly.
[[nodiscard]] CaseMapping case_mapping(std::string_view name);
// The lower case of a nick, channel or account. Equal results: the same name.
[[nodiscard]] std::string fold(std::string_view name, CaseMapping mapping);
[[nodiscard]] bool same_name(std::string_view a, std::string_view b, CaseMapping mapping);

}  // namespace talaria::irc
