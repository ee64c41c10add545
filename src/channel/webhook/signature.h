#pragma once
// Proof that a hook was sent by who knows the secret, and its identity. Signatures are over the raw body; every
// comparison takes the same time however much is right.
//
//   github    X-Hub-Signature-256: sha256=HEX of HMAC-SHA256(secret, body); identity X-GitHub-Delivery
//             (docs.github.com, "Validating webhook deliveries")
//   gitlab    X-Gitlab-Token: the secret itself; identity Idempotency-Key, before GitLab 17.4 X-Gitlab-Event-UUID and
//             the body's digest, for one UUID may stand for a chain of events. With a signing token ("whsec_…")
//             GitLab signs as `standard` does (docs.gitlab.com, "Webhooks")
//   standard  webhook-signature: a list of "v1,BASE64" of HMAC-SHA256(key, "id.timestamp.body"); identity webhook-id;
//             webhook-timestamp at most 5 minutes off (standardwebhooks.com, specification 1.0.0)

#include <expected>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "channel/hook.h"

namespace talaria::webhook {

enum class Scheme { github, gitlab, standard };

struct Refusal {
  int status = 401;
  std::string title;  // fit for the sender
};

// The identity of the delivery: what recognises a replay for ever. 1 to 255 visible ASCII characters.
[[nodiscard]] std::expected<std::string, Refusal> verify(Scheme scheme, std::string_view secret,
                                                         const HookRequest& request, UnixMillis now);

// The key in a secret of Standard Webhooks: "whsec_" (may be left out) and base64 of 16 to 1024 bytes. The error names
// no part of the secret.
[[nodiscard]] Result<std::string> standard_key(std::string_view secret);
// Of one message: "v1,BASE64".
[[nodiscard]] std::string sign_standard(std::string_view key, std::string_view id, std::int64_t seconds,
                                        std::string_view body);

[[nodiscard]] std::string hmac_sha256(std::string_view key, std::string_view data);  // 32 bytes
[[nodiscard]] std::string encode_base64(std::string_view bytes);
// Strict: padded, no blanks. False: it is not base64.
[[nodiscard]] bool decode_base64(std::string_view text, std::string& bytes);

}  // namespace talaria::webhook
