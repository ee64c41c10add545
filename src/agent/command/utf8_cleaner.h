#pragma once
// Makes UTF-8 of whatever a program prints, piece by piece. A piece may end within a code point: the incomplete bytes
// wait for the next one. Bytes that are no UTF-8, and U+0000 (which C strings, IRC and SQL take for an end), become
// U+FFFD, one for each maximal part of an ill-formed sequence (Unicode 16, 3.9, table 3-8; the same as the WHATWG
// decoder).

#include <string>
#include <string_view>

namespace talaria {

class Utf8Cleaner {
 public:
  // Whole code points only; may be empty.
  [[nodiscard]] std::string push(std::string_view bytes);
  // What an incomplete sequence at the end amounts to: nothing or U+FFFD. Ready for another text then.
  [[nodiscard]] std::string finish();

 private:
  void begin(unsigned char byte, std::string& out);

  std::string held_;          // the beginning of a well-formed sequence, at most 3 bytes
  int missing_ = 0;           // continuation bytes to come
  unsigned char low_ = 0x80;  // range of the next one
  unsigned char high_ = 0xBF;
};

}  // namespace talaria
