#pragma once
// Randomness from the kernel (getrandom(2)).

#include <cstdint>
#include <string>

namespace talaria {

// `length` characters of Crockford's base 32 (no I, L, O, U): for references and ids, 5 bits each.
[[nodiscard]] std::string random_id(std::size_t length);
[[nodiscard]] std::uint64_t random_u64();
// Uniform in [0, 1).
[[nodiscard]] double random_unit();

}  // namespace talaria
