#pragma once
// How a mail server is reached: plain TCP with TLS from the first byte, or after STARTTLS, or none.

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "net/stream.h"
#include "runtime/deadline.h"
#include "runtime/task.h"

namespace talaria::mail {

enum class Encryption { tls, starttls, none };
[[nodiscard]] inline Encryption encryption_of(std::string_view text) {
  return text == "none" ? Encryption::none : text == "starttls" ? Encryption::starttls : Encryption::tls;
}

struct MailServer {
  std::string host;
  std::uint16_t port = 0;
  Encryption encryption = Encryption::tls;
  std::string ca_file;
  std::string login, password;
};

using Dialer = std::function<Task<Result<std::unique_ptr<Stream>>>(DialOptions, Deadline)>;

// Connects, and encrypts where that is done from the first byte.
[[nodiscard]] inline Task<Result<std::unique_ptr<Stream>>> connect(const Dialer& dial, const MailServer& server,
                                                                   Deadline deadline) {
  return dial({.host = server.host,
               .port = server.port,
               .tls = server.encryption == Encryption::tls,
               .ca_file = server.ca_file},
              deadline);
}

}  // namespace talaria::mail
