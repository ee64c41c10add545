// What IMAP and SMTP servers say. Bytes that come in pieces must mean the same as all at once, and limits hold.

#include <cstdint>
#include <cstdlib>

#include "channel/email/imap_reader.h"
#include "channel/email/smtp_reply.h"

using namespace talaria;
using namespace talaria::mail;

namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

// A mark for each response, and for how it ended.
std::string imap(std::string_view bytes, std::size_t piece) {
  ImapReader reader(10'000);
  std::string seen;
  while (!bytes.empty()) {
    reader.feed(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
    for (;;) {
      auto response = reader.next();
      if (!response) return seen + "!";
      if (!*response) break;
      check(!(*response)->tag.empty());
      seen += (*response)->tag + " " + (*response)->word + ";";
    }
  }
  return seen;
}

std::string smtp(std::string_view bytes, std::size_t piece) {
  std::string input;
  std::string seen;
  while (!bytes.empty()) {
    input += bytes.substr(0, piece);
    bytes.remove_prefix(std::min(piece, bytes.size()));
    for (;;) {
      auto reply = take_smtp_reply(input);
      if (!reply) return seen + "!";
      if (!*reply) break;
      check((*reply)->code >= 200 && (*reply)->code < 600 && !(*reply)->lines.empty());
      seen += std::to_string((*reply)->code) + ";";
    }
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 5000) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t piece = data[0] % 16 + 1;
  check(imap(input, piece) == imap(input, input.size() + 1));
  check(smtp(input, piece) == smtp(input, input.size() + 1));
  return 0;
}
