#pragma once
// Words of strangers, a model's above all, on a terminal: it would obey the control sequences in them.

#include <string>
#include <string_view>

namespace talaria::cli {

// Makes text that comes in pieces fit to be shown: as printable() has it, but newlines and tabs stay and carriage
// returns go. A character may be split over pieces.
class TerminalText {
 public:
  // What can be shown by now.
  [[nodiscard]] std::string feed(std::string_view piece);
  // The rest, at the end.
  [[nodiscard]] std::string finish();

 private:
  std::string held_;  // the beginning of a character
};

}  // namespace talaria::cli
