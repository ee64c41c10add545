#include "agent/command/utf8_cleaner.h"

#include <utility>

namespace talaria {

namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

}  // namespace

// A byte that begins a code point. The range of the second byte keeps out overlong forms, surrogates and what is above
// U+10FFFF.
void Utf8Cleaner::begin(unsigned char byte, std::string& out) {
  low_ = 0x80;
  high_ = 0xBF;
  if (byte >= 0x01 && byte < 0x80) {
    out += static_cast<char>(byte);
    return;
  }
  if (byte >= 0xC2 && byte <= 0xDF) {
    missing_ = 1;
  } else if (byte >= 0xE0 && byte <= 0xEF) {
    missing_ = 2;
    if (byte == 0xE0) low_ = 0xA0;
    if (byte == 0xED) high_ = 0x9F;
  } else if (byte >= 0xF0 && byte <= 0xF4) {
    missing_ = 3;
    if (byte == 0xF0) low_ = 0x90;
    if (byte == 0xF4) high_ = 0x8F;
  } else {
    out += replacement;
    return;
  }
  held_ = static_cast<char>(byte);
}

std::string Utf8Cleaner::push(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() + replacement.size());
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (missing_ > 0 && byte >= low_ && byte <= high_) {
      held_ += c;
      low_ = 0x80;
      high_ = 0xBF;
      if (--missing_ == 0) out += std::exchange(held_, {});
      continue;
    }
    out += finish();
    begin(byte, out);
  }
  return out;
}

std::string Utf8Cleaner::finish() {
  if (std::exchange(missing_, 0) == 0) return {};
  held_.clear();
  return std::string(replacement);
}

}  // namespace talaria
