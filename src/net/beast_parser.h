#pragma once
// What request_reader.cpp and response_reader.cpp both need of Beast's parser. Theirs alone.

#include <boost/beast/core/string_type.hpp>
#include <cstddef>
#include <string_view>

namespace talaria {

using BeastView = boost::beast::string_view;
inline std::string_view view(BeastView text) { return {text.data(), text.size()}; }

// "0\r\n\r\n". Beast asserts that it is called with no less once it has seen a last chunk's size, whatever has come by
// then.
inline constexpr std::size_t shortest_chunk_end = 5;

}  // namespace talaria
