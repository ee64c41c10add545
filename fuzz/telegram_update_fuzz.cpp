// Telegram from both ends: bytes as an update and as an answer of the Bot API, and bytes as Markdown to be shown. What
// is checked: what becomes of an update is UTF-8 and has a sender, tags are balanced, and pieces keep within the limit.

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "channel/telegram/allow.h"
#include "channel/telegram/api_answer.h"
#include "channel/telegram/inbound.h"
#include "channel/telegram/markup.h"
#include "channel/telegram/update.h"
#include "channel/text_split.h"

using namespace talaria;
using namespace talaria::telegram;

namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

void update(std::string_view input) {
  const auto update = parse_update(input);
  if (!update || !update->message) return;
  const Message& message = *update->message;
  for (const Groups groups : {Groups::addressed, Groups::all, Groups::off}) {
    const auto text = text_for_us(message, {77, "talaria_bot"}, groups);
    if (!text) continue;
    const auto event = make_event(message, "tg", *text, false, 1'700'000'000'000);
    check(!event.sender.id.empty() && event.sender.id != "0" && !event.message_id.empty());
    check(replace_invalid_utf8(event.text) == event.text &&
          replace_invalid_utf8(event.sender.name) == event.sender.name);
    check(!AllowList({"user:"}).allows(message) && AllowList({"*"}).allows(message));
  }
}

void answer(int status, std::string_view input) {
  const auto answer = parse_answer(status, input);
  if (answer) return;
  check(answer.error().retry_after >= Millis(0));
  (void)delivery_error(answer.error(), false);
}

// Every tag is closed, in order; nothing else looks like one.
void balanced(std::string_view html) {
  std::vector<std::string_view> open;
  for (auto at = html.find('<'); at != html.npos; at = html.find('<', at)) {
    const auto end = html.find('>', at);
    check(end != html.npos);
    auto name = html.substr(at + 1, end - at - 1);
    at = end;
    if (name.starts_with('/')) {
      check(!open.empty() && open.back() == name.substr(1));
      open.pop_back();
    } else {
      open.push_back(name.substr(0, name.find(' ')));
    }
  }
  check(open.empty());
}

void markdown(std::string_view input) {
  const std::string valid = replace_invalid_utf8(input);
  for (const auto& piece : split_text(valid, 300, TextUnit::utf16)) {
    check(length_in(TextUnit::utf16, piece) <= 300);
    const Rendered rendered = render_markdown(piece);
    balanced(rendered.html);
    check(replace_invalid_utf8(rendered.html) == rendered.html);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  update(input);
  answer(data[0] % 2 == 0 ? 200 : 400 + data[0], input);
  markdown(input);
  return 0;
}
