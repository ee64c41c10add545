#include "channel/email/incoming.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "channel/email/codec.h"
#include "channel/email/digest.h"
#include "channel/email/loop_guard.h"
#include "channel/email/quote.h"

namespace talaria::mail {
namespace {

constexpr std::size_t longest_subject = 250;
constexpr std::size_t most_references = 20;

// RFC 5322, 3.6.4: the thread's ids, oldest first, at most so many: the first one and the latest.
std::vector<std::string> references_of(const Header& header) {
  auto ids = parse_message_ids(header.get("References"), 1000);
  for (std::string& id : parse_message_ids(header.get("In-Reply-To"), 1)) {
    if (std::ranges::find(ids, id) == ids.end()) ids.push_back(std::move(id));
  }
  if (ids.size() >= most_references)
    ids.erase(ids.begin() + 1, ids.end() - static_cast<std::ptrdiff_t>(most_references - 2));
  return ids;
}

std::string text_of(const Mail& mail, std::string_view subject, bool starts_thread) {
  std::string text = own_words(mail.text);
  // A command has nothing before it; in a thread that goes on the subject says nothing new.
  const bool with_subject = starts_thread && !subject.empty() && !text.starts_with('/');
  if (text.empty()) {
    text = subject;
  } else if (with_subject) {
    text = fmt::format("{}\n\n{}", subject, text);
  }
  if (mail.cut) text += "\n\n(A part of this mail was too large and was left out.)";
  return text;
}

}  // namespace

std::string pack(const AnswerTo& answer_to) {
  std::string out = answer_to.message_id + "\n" + answer_to.subject + "\n";
  for (const std::string& id : answer_to.references) out += id + " ";
  if (out.ends_with(' ')) out.pop_back();
  return out;
}

AnswerTo unpack(std::string_view reply_to) {
  AnswerTo out;
  const std::size_t first = std::min(reply_to.find('\n'), reply_to.size());
  const std::size_t second = std::min(reply_to.find('\n', std::min(first + 1, reply_to.size())), reply_to.size());
  if (const auto ids = parse_message_ids(reply_to.substr(0, first), 1); !ids.empty()) out.message_id = ids.front();
  if (first < reply_to.size()) out.subject = reply_to.substr(first + 1, second - first - 1);
  if (second < reply_to.size()) out.references = parse_message_ids(reply_to.substr(second), most_references);
  return out;
}

std::string base_subject(std::string_view subject) {
  std::string_view text = trim(subject);
  for (bool found = true; found;) {
    found = false;
    for (const std::string_view prefix : {"re:", "aw:", "sv:", "fw:", "fwd:", "wg:", "antw:"}) {
      if (!same_word(text.substr(0, prefix.size()), prefix)) continue;
      text = trim(text.substr(prefix.size()));
      found = true;
    }
  }
  return truncate_utf8(text, longest_subject);
}

std::variant<Incoming, Skipped> read_mail(const Fetched& fetched, const IncomingRules& rules) {
  // Of what is not for us, no more than the header is looked at.
  std::string_view body = fetched.bytes;
  const Header header = Header::take(body);
  const auto ids = parse_message_ids(header.get("Message-ID"), 1);
  // RFC 5322 lets a mail have none; then its content stands for it, and its place in the mailbox.
  const std::string_view head = std::string_view(fetched.bytes).substr(0, fetched.bytes.size() - body.size());
  const std::string id = ids.empty() ? fmt::format("{}@uid-{}", digest({head}), fetched.uid) : ids.front();
  if (auto why = automatic(header, rules.own_address)) return Skipped{std::move(*why), id};
  auto sender = judge_sender(header, rules.sender);
  if (!sender) return Skipped{sender.error().what, id};

  Mail mail = parse_mail(fetched.bytes);
  if (mail.report) return Skipped{"it is a report of a mail server", id};
  // Not compared with what came: some servers only guess at sizes.
  if (fetched.size > static_cast<std::int64_t>(max_mail)) mail.cut = true;

  const std::string subject = base_subject(decode_words(header.get("Subject")));
  AnswerTo answer_to{.message_id = ids.empty() ? "" : id, .subject = subject, .references = references_of(header)};
  const bool starts_thread = answer_to.references.empty();
  const std::string thread = starts_thread ? id : answer_to.references.front();
  if (!answer_to.message_id.empty()) answer_to.references.push_back(id);

  Incoming in;
  in.event.message_id = id;
  in.event.route = {
      .channel = rules.channel, .conversation = sender->mailbox.address, .thread = thread, .reply_to = pack(answer_to)};
  in.event.sender = {
      .id = "address:" + sender->mailbox.address,
      .name = sender->mailbox.name.empty() ? sender->mailbox.address : truncate_utf8(sender->mailbox.name, 100),
      .admin = sender->admin};
  in.event.text = text_of(mail, subject, starts_thread);
  // A thread is a session of its own: `direct` would make one of all mails of a sender. The thread's id is a text of
  // the writer's, so the session's key holds the (verified) sender, too: the conversation.
  in.event.direct = false;
  in.event.received_at = fetched.received_at;
  in.files = std::move(mail.files);
  if (in.event.text.empty() && in.files.empty()) return Skipped{"it is empty", id};
  if (in.event.text.empty()) in.event.text = "(A mail without text.)";
  return in;
}

}  // namespace talaria::mail
