#include "channel/irc/casemap.h"

namespace talaria::irc {

namespace {

char lower(char c, CaseMapping mapping) {
  const char last = mapping == CaseMapping::ascii ? 'Z' : mapping == CaseMapping::strict_rfc1459 ? ']' : '^';
  return c >= 'A' && c <= last ? static_cast<char>(c + 32) : c;
}

}  // namespace

CaseMapping case_mapping(std::string_view name) {
  if (name == "rfc1459") return CaseMapping::rfc1459;
  if (name == "strict-rfc1459") return CaseMapping::strict_rfc1459;
  return CaseMapping::ascii;
}

std::string fold(std::string_view name, CaseMapping mapping) {
  std::string out(name);
  for (char& c : out) c = lower(c, mapping);
  return out;
}

bool same_name(std::string_view a, std::string_view b, CaseMapping mapping) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (lower(a[i], mapping) != lower(b[i], mapping)) return false;
  }
  return true;
}

}  // namespace talaria::irc
