#pragma once
// `talaria gateway self-check`, hidden: what a new program says of itself before the running one makes room for it. One
// line of JSON. It loads the configuration with its own schema, opens the store to read and says whether it can go on
// with it, and whether it understands the handover. Nothing is changed.

#include <string>

#include "base/result.h"

namespace talaria {

struct SelfCheck {
  std::string version;
  bool ok = false;
  std::string why;     // when not ok: "config", "store", "handover", "internal"
  std::string reason;  // for people
  friend bool operator==(const SelfCheck&, const SelfCheck&) = default;
};
[[nodiscard]] std::string format_self_check(const SelfCheck& check);
// Exactly one line of at most 16 KiB; whatever else a program prints is `invalid`.
[[nodiscard]] Result<SelfCheck> parse_self_check(std::string_view text);

}  // namespace talaria
