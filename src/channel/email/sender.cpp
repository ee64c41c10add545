#include "channel/email/sender.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "channel/email/codec.h"

namespace talaria::mail {
namespace {

std::string_view domain_of(std::string_view address) { return address.substr(address.rfind('@') + 1); }

std::string shown(std::string_view text) { return printable(truncate_utf8(text, 100)); }

// Relaxed alignment: the domain itself, or one above it that is no top-level domain.
bool aligned(std::string_view signer, std::string_view domain) {
  if (signer.find('.') == signer.npos) return false;
  return signer == domain || (domain.size() > signer.size() && domain.ends_with(signer) &&
                              domain[domain.size() - signer.size() - 1] == '.');
}

// One result of the field, "dkim=pass reason=… header.d=example.org": the method, its result and the properties.
struct Verdict {
  std::string method, result;
  std::vector<std::pair<std::string, std::string>> properties;
  [[nodiscard]] std::string property(std::string_view name) const {
    for (const auto& [key, value] : properties) {
      if (key == name) return value;
    }
    return {};
  }
};

struct Authentication {
  std::string server;
  std::vector<Verdict> verdicts;
};

// Words of a statement; a quoted string is one word, blanks around "=" don't count.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool quoted = false;
  const auto finish = [&] {
    if (!word.empty()) words.push_back(std::exchange(word, {}));
  };
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (quoted && c == '\\' && at + 1 < text.size()) {
      word += text[++at];
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && c == '=') {
      if (word.empty() && !words.empty()) {
        word = std::move(words.back());
        words.pop_back();
      }
      word += '=';
      while (at + 1 < text.size() && trim(text.substr(at + 1, 1)).empty()) ++at;
    } else if (!quoted && trim({&c, 1}).empty()) {
      finish();
    } else {
      word += c;
    }
  }
  finish();
  return words;
}

Authentication parse(std::string_view field) {
  const std::string text = without_comments(field);
  Authentication out;
  bool first = true;
  bool quoted = false;
  std::size_t start = 0;
  const auto statement = [&](std::string_view piece) {
    const auto words = words_of(piece);
    if (std::exchange(first, false)) {
      if (!words.empty()) out.server = lower(words.front());  // a version may follow
      return;
    }
    Verdict verdict;
    for (const std::string& word : words) {
      const std::size_t equals = word.find('=');
      if (equals == word.npos) continue;
      std::string key = lower(word.substr(0, equals));
      std::string value = lower(word.substr(equals + 1));
      if (verdict.method.empty()) {
        verdict.method = key.substr(0, key.find('/'));
        verdict.result = std::move(value);
      } else {
        verdict.properties.emplace_back(std::move(key), std::move(value));
      }
    }
    if (!verdict.method.empty()) out.verdicts.push_back(std::move(verdict));
  };
  for (std::size_t at = 0; at < text.size() && out.verdicts.size() < 50; ++at) {
    if (text[at] == '"') quoted = !quoted;
    if (text[at] == ';' && !quoted) {
      statement(std::string_view(text).substr(start, at - start));
      start = at + 1;
    }
  }
  statement(std::string_view(text).substr(start));
  return out;
}

}  // namespace

bool matches(const std::vector<std::string>& rules, std::string_view address) {
  return std::ranges::any_of(rules, [&](const std::string& rule) {
    const std::string small = lower(rule);
    return small == fmt::format("address:{}", address) || small == fmt::format("domain:{}", domain_of(address));
  });
}

Result<> check_authentication(const Header& header, std::string_view authserv, std::string_view domain) {
  for (const std::string_view field : header.all("Authentication-Results")) {
    const Authentication found = parse(field);
    if (found.server != lower(authserv)) continue;
    std::string seen;
    for (const Verdict& verdict : found.verdicts) {
      if (verdict.method == "dmarc") {
        if (verdict.result == "pass" && verdict.property("header.from") == domain) return {};
        if (verdict.result == "fail")
          return fail(ErrorKind::permission, fmt::format("{} found DMARC to fail for it", authserv));
      }
    }
    for (const Verdict& verdict : found.verdicts) {
      seen += fmt::format("{}{}={}", seen.empty() ? "" : ", ", verdict.method, verdict.result);
      if (verdict.result != "pass") continue;
      if (verdict.method == "dkim") {
        // header.i is "@domain" or "user@domain".
        const std::string d = verdict.property("header.d");
        if (aligned(d.empty() ? std::string(domain_of(verdict.property("header.i"))) : d, domain)) return {};
      }
      if (verdict.method == "spf" && aligned(domain_of(verdict.property("smtp.mailfrom")), domain)) return {};
    }
    return fail(ErrorKind::permission, fmt::format("{} does not vouch for {}: it says {}", authserv, shown(domain),
                                                   seen.empty() ? "nothing" : shown(seen)));
  }
  return fail(ErrorKind::permission,
              fmt::format("it has no Authentication-Results of {}, so nobody vouches for its From line", authserv));
}

Result<KnownSender> judge_sender(const Header& header, const SenderRules& rules) {
  const auto fields = header.all("From");
  const auto from = fields.size() == 1 ? parse_mailboxes(fields.front(), 2) : std::vector<Mailbox>{};
  if (from.size() != 1) return fail(ErrorKind::invalid, "it has not exactly one address in its From line");
  const Mailbox& mailbox = from.front();
  const bool admin = matches(rules.admins, mailbox.address);
  if (!admin && !matches(rules.allow, mailbox.address))
    return fail(ErrorKind::permission, fmt::format("{} is not in allow", shown(mailbox.address)));
  if (rules.verify) {
    if (auto good = check_authentication(header, rules.trusted_authserv, domain_of(mailbox.address)); !good)
      return fail(good.error().kind,
                  fmt::format("it says to be from {}, but {}", shown(mailbox.address), good.error().what));
  }
  return KnownSender{mailbox, admin};
}

}  // namespace talaria::mail
