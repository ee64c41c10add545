#include "channel/webhook/signature.h"

#include <gtest/gtest.h>

namespace talaria::webhook {
namespace {

constexpr UnixMillis now = 1'614'265'330'000;

int status_of(const std::expected<std::string, Refusal>& outcome) { return outcome ? 200 : outcome.error().status; }

// The vector of docs.github.com, "Validating webhook deliveries".
constexpr const char* github_secret = "It's a Secret to Everybody";
HookRequest github() {
  return {
      .headers = {{"x-hub-signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
                  {"x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"}},
      .body = "Hello, World!",
      .peer = {}};
}

TEST(Signature, GitHubsOwnVectorIsAccepted) {
  const auto id = verify(Scheme::github, github_secret, github(), now);
  ASSERT_TRUE(id) << id.error().title;
  EXPECT_EQ(*id, "72d3162e-cc78-11e3-81ab-4c9367dc0958");
}

TEST(Signature, GitHubWhateverDiffersIsRefused) {
  for (const char* secret : {"", "It's a secret to Everybody", "It's a Secret to Everybody "})
    EXPECT_NE(status_of(verify(Scheme::github, secret, github(), now)), 200) << secret;
  const std::string good = github().headers[0].second;
  for (std::string header :
       {std::string(), std::string("sha256="), good.substr(0, good.size() - 1), good + "0", good.substr(7),
        "sha1=" + good.substr(7), "sha256=" + std::string(64, '0'), good.substr(0, good.size() - 2) + "7g"}) {
    HookRequest request = github();
    request.headers[0].second = header;
    EXPECT_EQ(status_of(verify(Scheme::github, github_secret, request, now)), 401) << header;
  }
  for (const char* body : {"", "Hello, World", "Hello, World!\n", "hello, World!"}) {
    HookRequest request = github();
    request.body = body;
    EXPECT_EQ(status_of(verify(Scheme::github, github_secret, request, now)), 401) << body;
  }
  HookRequest old_header = github();
  old_header.headers[0].first = "x-hub-signature";  // SHA-1, no more
  EXPECT_EQ(status_of(verify(Scheme::github, github_secret, old_header, now)), 401);
}

TEST(Signature, ADeliveryWithoutAnIdentityIsRefused) {
  for (const std::string& id : {std::string(), std::string("a b"), std::string("a\x01"), std::string(256, 'x')}) {
    HookRequest request = github();
    request.headers[1].second = id;
    EXPECT_EQ(status_of(verify(Scheme::github, github_secret, request, now)), 400) << id;
  }
}

// The vector of the reference libraries of Standard Webhooks.
constexpr const char* standard_secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
HookRequest standard(std::string signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=") {
  return {.headers = {{"webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"},
                      {"webhook-timestamp", "1614265330"},
                      {"webhook-signature", std::move(signature)}},
          .body = R"({"test": 2432232314})",
          .peer = {}};
}

TEST(Signature, TheStandardsVectorIsMadeAndAccepted) {
  const auto key = standard_key(standard_secret);
  ASSERT_TRUE(key);
  EXPECT_EQ(sign_standard(*key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, standard().body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
  const auto id = verify(Scheme::standard, standard_secret, standard(), now);
  ASSERT_TRUE(id) << id.error().title;
  EXPECT_EQ(*id, "msg_p5jXN8AQM9LWM0D4loKWxJek");
  EXPECT_TRUE(verify(Scheme::standard, standard_secret + 6, standard(), now)) << "without whsec_";
  EXPECT_TRUE(verify(Scheme::gitlab, standard_secret, standard(), now)) << "GitLab's signing token";
}

TEST(Signature, OneGoodSignatureOfAListIsEnough) {
  const std::string good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
  const std::string other = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc=";
  EXPECT_TRUE(verify(Scheme::standard, standard_secret, standard(other + " v1a,xx " + good + " " + other), now));
  for (const std::string& list : {other, std::string("v2") + good.substr(2), good.substr(3), std::string("v1,"),
                                  good.substr(0, 12), "x" + good, good + "=", std::string(" ")}) {
    EXPECT_EQ(status_of(verify(Scheme::standard, standard_secret, standard(list), now)), 401) << list;
  }
  std::string many;
  for (int i = 0; i < 16; ++i) many += other + " ";
  EXPECT_EQ(status_of(verify(Scheme::standard, standard_secret, standard(many + good), now)), 401) << "a list is short";
}

TEST(Signature, OldAndFutureTimestampsAreRefused) {
  for (const std::int64_t off : {-300'000, 300'000, 0})
    EXPECT_TRUE(verify(Scheme::standard, standard_secret, standard(), now + off)) << off;
  for (const std::int64_t off : {-301'000, 301'000, -86'400'000})
    EXPECT_EQ(status_of(verify(Scheme::standard, standard_secret, standard(), now + off)), 401) << off;
  // The timestamp is signed: a fresh one does not fit.
  HookRequest request = standard();
  request.headers[1].second = "1614265331";
  EXPECT_EQ(status_of(verify(Scheme::standard, standard_secret, request, now)), 401);
}

TEST(Signature, StandardHeadersThatCantBeAreRefused) {
  for (std::size_t missing = 0; missing < 3; ++missing) {
    HookRequest request = standard();
    request.headers.erase(request.headers.begin() + static_cast<std::ptrdiff_t>(missing));
    EXPECT_EQ(status_of(verify(Scheme::standard, standard_secret, request, now)), 401);
  }
  const auto key = standard_key(standard_secret);
  for (const auto& [id, time] :
       {std::pair("a.b", "1614265330"), std::pair("a b", "1614265330"), std::pair("a", "1614265330.0"),
        std::pair("a", "-5"), std::pair("a", "hello"), std::pair("a", "99999999999999999999")}) {
    HookRequest request = standard();
    request.headers[0].second = id;
    request.headers[1].second = time;
    request.headers[2].second =
        "v1," + encode_base64(hmac_sha256(*key, std::string(id) + "." + time + "." + request.body));
    EXPECT_EQ(status_of(verify(Scheme::standard, standard_secret, request, now)), 401) << id << " " << time;
  }
}

TEST(Signature, ASecretThatIsNoneIsNotUsable) {
  for (const char* secret : {"", "whsec_", "whsec_AAAA", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "not base64 at all!"})
    EXPECT_FALSE(standard_key(secret)) << secret;
  EXPECT_EQ(status_of(verify(Scheme::standard, "whsec_AAAA", standard(), now)), 503);
}

TEST(Signature, GitLabsTokenIsComparedAsAWhole) {
  HookRequest request{
      .headers = {{"x-gitlab-token", "token-1"}, {"idempotency-key", "key-1"}}, .body = "{}", .peer = {}};
  const auto id = verify(Scheme::gitlab, "token-1", request, now);
  ASSERT_TRUE(id);
  EXPECT_EQ(*id, "key-1");
  for (const char* token : {"", "token-", "token-12", "Token-1", "token-1 "}) {
    request.headers[0].second = token;
    EXPECT_EQ(status_of(verify(Scheme::gitlab, "token-1", request, now)), 401) << token;
  }
}

TEST(Signature, GitLabsOlderIdentityTellsEventsOfOneChainApart) {
  HookRequest request{
      .headers = {{"x-gitlab-token", "t"}, {"x-gitlab-event-uuid", "uuid"}}, .body = "{\"a\":1}", .peer = {}};
  const auto first = verify(Scheme::gitlab, "t", request, now);
  const auto again = verify(Scheme::gitlab, "t", request, now + 1);
  request.body = "{\"a\":2}";
  const auto other = verify(Scheme::gitlab, "t", request, now);
  ASSERT_TRUE(first && again && other);
  EXPECT_EQ(*first, *again);
  EXPECT_NE(*first, *other);
  request.headers.pop_back();
  EXPECT_EQ(status_of(verify(Scheme::gitlab, "t", request, now)), 400);
}

TEST(Base64, IsStrictAndComesBack) {
  for (const char* text : {"a", "ab", "abc", "\xff\x00\x7f"}) {
    std::string back;
    EXPECT_TRUE(decode_base64(encode_base64(text), back));
    EXPECT_EQ(back, text);
  }
  std::string bytes;
  for (const char* wrong : {"", "YQ", "YQ=", "Y===", "=YQ=", "YQ==YQ==", " YQ==", "YQ==\n", "Y-Q="})
    EXPECT_FALSE(decode_base64(wrong, bytes)) << wrong;
}

}  // namespace
}  // namespace talaria::webhook
