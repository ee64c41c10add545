#include "channel/email/sender.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

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
  bool well_formed = true;
};

// The field without what the writer of a mail may have chosen: a blank stands for a comment, one mark for a quoted
// string, whatever is in it. No name of a method, a result or a domain needs to be quoted.
std::string bare(std::string_view field, bool& well_formed) {
  std::string out;
  FieldScan scan;
  auto before = FieldScan::In::text;
  for (const char c : field) {
    const auto in = scan.step(c);
    if (in == FieldScan::In::text) {
      out += c;
    } else if (in != before) {
      out += in == FieldScan::In::comment ? ' ' : '"';
    }
    before = in;
  }
  well_formed = scan.well_formed();
  return out;
}

// Words of a bare statement; blanks around "=" don't count.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  const auto finish = [&] {
    if (!word.empty()) words.push_back(std::exchange(word, {}));
  };
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '=') {
      if (word.empty() && !words.empty()) {
        word = std::move(words.back());
        words.pop_back();
      }
      word += '=';
      while (at + 1 < text.size() && trim(text.substr(at + 1, 1)).empty()) ++at;
    } else if (trim({&c, 1}).empty()) {
      finish();
    } else {
      word += c;
    }
  }
  finish();
  return words;
}

Verdict verdict_in(std::string_view statement) {
  Verdict verdict;
  for (const std::string& word : words_of(statement)) {
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
  return verdict;
}

Authentication parse(std::string_view field) {
  Authentication out;
  const std::string text = bare(field, out.well_formed);
  std::string_view left = text;
  for (bool first = true; !left.empty(); first = false) {
    const std::size_t end = std::min(left.find(';'), left.size());
    const std::string_view statement = left.substr(0, end);
    left.remove_prefix(std::min(end + 1, left.size()));
    if (first) {
      if (const auto words = words_of(statement); !words.empty()) out.server = lower(words.front());  // then a version
    } else if (Verdict verdict = verdict_in(statement); !verdict.method.empty()) {
      out.verdicts.push_back(std::move(verdict));
    }
  }
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
    if (!found.well_formed)
      return fail(ErrorKind::permission, fmt::format("the Authentication-Results of {} is not well-formed", authserv));
    std::set<std::string_view> failed;  // methods
    for (const Verdict& verdict : found.verdicts) {
      if (verdict.result == "fail") failed.insert(verdict.method);
    }
    if (failed.contains("dmarc"))
      return fail(ErrorKind::permission, fmt::format("{} found DMARC to fail for it", authserv));
    std::string seen;
    for (const Verdict& verdict : found.verdicts) {
      seen += fmt::format("{}{}={}", seen.empty() ? "" : ", ", verdict.method, verdict.result);
      if (verdict.result != "pass" || failed.contains(verdict.method)) continue;
      if (verdict.method == "dmarc" && verdict.property("header.from") == domain) return {};
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
  return KnownSender{{decode_words(mailbox.name), mailbox.address}, admin};
}

}  // namespace talaria::mail
