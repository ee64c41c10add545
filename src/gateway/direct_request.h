#pragma once
// What an idempotent direct turn needs to run again after a restart, and the digest that tells whether a key is reused
// for something else.

#include <optional>
#include <string>

#include "gateway/gateway.h"

namespace talaria {

[[nodiscard]] std::string format_direct_request(const DirectTurn& turn);
// messages, temperature and max_tokens; nullopt when the text is not one of ours.
[[nodiscard]] std::optional<DirectTurn> parse_direct_request(std::string_view json);
// SHA-256, hexadecimal, over everything that decides the answer.
[[nodiscard]] std::string digest_direct_request(const DirectTurn& turn);

}  // namespace talaria
