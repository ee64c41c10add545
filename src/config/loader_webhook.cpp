// What keys of kind = "webhook" demand of each other. Fails closed: who may send is proved by a secret, or nobody may.
#include <fmt/format.h>

#include "base/text.h"
#include "config/loader.h"

namespace talaria {

void Loader::check_webhook(const ChannelConfig& channel) {
  const WebhookConfig& hook = channel.webhook;
  const std::string path = "channel." + channel.name;
  const auto given = [&](std::string_view key) { return outcome_.lines.contains(fmt::format("{}.{}", path, key)); };
  const auto need = [&](std::string_view key, std::string_view other, std::string_view why) {
    if (given(key) && !given(other)) mistake_at_key(path, key, fmt::format("needs {}{}", other, why));
  };
  need("scheme", "secret", ", a reference such as \"env:HOOK_SECRET\": without it anybody could send");
  need("secret", "scheme", ": \"github\", \"gitlab\" or \"standard\"");
  need("url", "sign_secret", ", a reference such as \"env:HOOK_SIGN_SECRET\": what is sent is signed");
  need("sign_secret", "url", ", where replies are posted");
  for (const std::string_view key : {"events", "prompt", "session", "deliver_to", "deliver_only"})
    need(key, "scheme", ", which says how senders prove who they are");
  if (!given("scheme") && !given("url")) {
    if (!given("secret") && !given("sign_secret"))
      mistake_at_key(path, "kind", "neither receives nor sends: add scheme and secret, or url and sign_secret");
    return;
  }
  if (!given("scheme")) return;
  if (outcome_.config.api.listen.empty() && !is_wrong("api.listen")) {
    mistake_at_key(path, "scheme",
                   fmt::format("hooks arrive at /hooks/{} of the API's server, which does not listen: add [api] with "
                               "listen = \"127.0.0.1:8790\"",
                               channel.name));
  }
  if (!given("deliver_to") && !given("url")) {
    mistake_at_key(
        path, "scheme",
        "the answers would go nowhere: add deliver_to = \"CHANNEL:CONVERSATION\", or url with sign_secret, or "
        "say deliver_to = \"none\"");
  }
  if (given("deliver_to") && !is_wrong(path + ".deliver_to")) {
    const auto to = parse_deliver_to(hook.deliver_to);
    const auto target = to ? outcome_.config.channels.find(to->channel) : outcome_.config.channels.end();
    if (to && !to->channel.empty() && target == outcome_.config.channels.end()) {
      mistake_at_key(path, "deliver_to", fmt::format("there is no [channel.{}]", to->channel));
    } else if (to && !to->channel.empty() && target->second.kind == "webhook" && target->second.webhook.url.empty()) {
      mistake_at_key(path, "deliver_to",
                     fmt::format("[channel.{}] has no url: nothing can be sent there", to->channel));
    }
  }
  if (hook.deliver_only && (hook.deliver_to.empty() || hook.deliver_to == "none"))
    mistake_at_key(path, "deliver_only", "needs deliver_to = \"CHANNEL:CONVERSATION\": where the text goes");
}

}  // namespace talaria
