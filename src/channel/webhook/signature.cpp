#include "channel/webhook/signature.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/sha256.h"

namespace talaria::webhook {
namespace {

constexpr std::int64_t tolerance = 5 * 60;  // seconds
constexpr std::string_view standard_prefix = "whsec_";
constexpr std::size_t digest_size = 32;
constexpr int most_signatures = 16;  // of one message; a sender that changes its secret sends two

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

std::string digest_of(std::string_view data) {
  const Sha256 digest = sha256(data);
  return {digest.begin(), digest.end()};
}

bool same_digest(std::string_view a, std::string_view b) {
  return a.size() == digest_size && b.size() == digest_size && CRYPTO_memcmp(a.data(), b.data(), digest_size) == 0;
}

bool from_hex(std::string_view text, std::string& bytes) {
  bytes.clear();
  if (text.size() % 2 != 0) return false;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    unsigned int value = 0;
    const char* end = text.data() + i + 2;
    if (const auto done = std::from_chars(text.data() + i, end, value, 16); done.ec != std::errc{} || done.ptr != end)
      return false;
    bytes += static_cast<char>(value);
  }
  return true;
}

std::unexpected<Refusal> refuse(int status, std::string title) { return std::unexpected(Refusal{status, title}); }

bool is_identity(std::string_view id) {
  return !id.empty() && id.size() <= 255 && std::ranges::all_of(id, [](char c) { return c > 0x20 && c < 0x7F; });
}

std::expected<std::string, Refusal> identity(std::string_view id, std::string_view header) {
  if (!is_identity(id)) return refuse(400, fmt::format("{} is missing or can't be an identity", header));
  return std::string(id);
}

std::expected<std::string, Refusal> verify_github(std::string_view secret, const HookRequest& request) {
  std::string_view given = request.header("x-hub-signature-256");
  if (given.empty()) return refuse(401, "X-Hub-Signature-256 is missing: give the webhook its secret");
  constexpr std::string_view algorithm = "sha256=";
  std::string digest;
  const bool readable = given.starts_with(algorithm) && given.size() == algorithm.size() + 2 * digest_size &&
                        from_hex(given.substr(algorithm.size()), digest);
  if (!readable || !same_digest(digest, hmac_sha256(secret, request.body)))
    return refuse(401, "the signature is wrong");
  return identity(request.header("x-github-delivery"), "X-GitHub-Delivery");
}

std::expected<std::string, Refusal> verify_standard(std::string_view secret, const HookRequest& request,
                                                    UnixMillis now) {
  const auto key = standard_key(secret);
  if (!key) return refuse(503, "this hook has no usable secret");
  const std::string_view id = request.header("webhook-id");
  const std::string_view timestamp = request.header("webhook-timestamp");
  std::string_view list = request.header("webhook-signature");
  if (id.empty() || timestamp.empty() || list.empty())
    return refuse(401, "webhook-id, webhook-timestamp or webhook-signature is missing");
  // A full stop would let one signed text be read as another message.
  if (!is_identity(id) || id.find('.') != std::string_view::npos) return refuse(401, "webhook-id can't be an identity");
  std::int64_t seconds = 0;
  const char* end = timestamp.data() + timestamp.size();
  const auto parsed = std::from_chars(timestamp.data(), end, seconds);
  if (parsed.ec != std::errc{} || parsed.ptr != end || seconds < 0 || timestamp.size() > 12)
    return refuse(401, "webhook-timestamp is no number of seconds");
  const std::string signed_text = fmt::format("{}.{}.{}", id, timestamp, request.body);
  const std::string expected = hmac_sha256(*key, signed_text);
  bool good = false;
  for (int n = 0; n < most_signatures && !list.empty(); ++n) {
    const auto blank = list.find(' ');
    const std::string_view one = list.substr(0, blank);
    std::string digest;
    if (one.starts_with("v1,") && decode_base64(one.substr(3), digest)) good |= same_digest(digest, expected);
    list.remove_prefix(blank == std::string_view::npos ? list.size() : blank + 1);
  }
  if (!good) return refuse(401, "the signature is wrong");
  if (std::abs(now / 1000 - seconds) > tolerance) return refuse(401, "the timestamp is more than 5 minutes off");
  return std::string(id);
}

std::expected<std::string, Refusal> verify_gitlab(std::string_view secret, const HookRequest& request) {
  const std::string_view given = request.header("x-gitlab-token");
  if (given.empty()) return refuse(401, "X-Gitlab-Token is missing: give the webhook its secret token");
  // Digests, so that the length shows as little as the content.
  if (!same_digest(digest_of(given), digest_of(secret))) return refuse(401, "the secret token is wrong");
  if (const auto key = request.header("idempotency-key"); !key.empty()) return identity(key, "Idempotency-Key");
  const auto uuid = request.header("x-gitlab-event-uuid");
  auto id = identity(uuid.substr(0, 200), "X-Gitlab-Event-UUID");
  if (id) *id += "." + to_hex(sha256(request.body), 16);
  return id;
}

}  // namespace

std::string hmac_sha256(std::string_view key, std::string_view data) {
  std::string digest(digest_size, '\0');
  unsigned int size = 0;
  if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), bytes_of(data), data.size(),
           reinterpret_cast<unsigned char*>(digest.data()), &size) == nullptr) {
    std::abort();
  }
  return digest;
}

std::string encode_base64(std::string_view bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes_of(bytes), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

bool decode_base64(std::string_view text, std::string& bytes) {
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  bytes.clear();
  if (text.empty() || text.size() % 4 != 0 || text.size() > 4096) return false;
  const auto padding = text.ends_with("==") ? 2U : text.ends_with('=') ? 1U : 0U;
  if (text.substr(0, text.size() - padding).find_first_not_of(alphabet) != std::string_view::npos) return false;
  bytes.resize(text.size() / 4 * 3);
  const int size =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()), bytes_of(text), static_cast<int>(text.size()));
  if (size < 0) return false;
  bytes.resize(static_cast<std::size_t>(size) - padding);
  return true;
}

Result<std::string> standard_key(std::string_view secret) {
  if (secret.starts_with(standard_prefix)) secret.remove_prefix(standard_prefix.size());
  std::string key;
  if (!decode_base64(secret, key) || key.size() < 16 || key.size() > 1024) {
    return fail(ErrorKind::invalid,
                "is no secret of Standard Webhooks: \"whsec_\" and the base64 of 24 to 64 random bytes, made for "
                "example by: echo whsec_$(head -c 32 /dev/urandom | base64)");
  }
  return key;
}

std::string sign_standard(std::string_view key, std::string_view id, std::int64_t seconds, std::string_view body) {
  return "v1," + encode_base64(hmac_sha256(key, fmt::format("{}.{}.{}", id, seconds, body)));
}

std::expected<std::string, Refusal> verify(Scheme scheme, std::string_view secret, const HookRequest& request,
                                           UnixMillis now) {
  if (secret.empty()) return refuse(503, "this hook has no secret");  // never: the configuration demands one
  switch (scheme) {
    case Scheme::github: return verify_github(secret, request);
    case Scheme::gitlab:
      return secret.starts_with(standard_prefix) ? verify_standard(secret, request, now)
                                                 : verify_gitlab(secret, request);
    case Scheme::standard: return verify_standard(secret, request, now);
  }
  return refuse(503, "this hook has no scheme");
}

}  // namespace talaria::webhook
