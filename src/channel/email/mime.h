#pragma once
// The body of a mail as a tree of parts (RFC 2045, 2046), read in one walk that keeps what a conversation needs: one
// text, and the files. Of alternatives, plain text is taken before HTML. Hostile mail costs no more than its size: its
// lines are passed over once, however deep it is, depth, parts, files and bytes are bounded, and what lies beyond is
// left out.

#include <string>
#include <string_view>
#include <vector>

#include "channel/email/header.h"

namespace talaria::mail {

struct MimeLimits {
  int depth = 20;
  std::size_t parts = 200;
  std::size_t files = 20;
  std::size_t text_bytes = 1024 * 1024;
};

struct File {
  std::string name;  // without directories
  std::string type;  // "image/png"
  std::string bytes;
};

struct Mail {
  Header header;
  std::string text;  // UTF-8, lines end in "\n"
  std::vector<File> files;
  bool cut = false;  // something was left out
  // An automatic report (multipart/report, message/delivery-status: RFC 3462).
  bool report = false;
};

[[nodiscard]] Mail parse_mail(std::string_view bytes, const MimeLimits& limits = {});

}  // namespace talaria::mail
