#include "process/credential_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>

#include "base/sha256.h"
#include "process/identity.h"
#include "process/record_json.h"

namespace talaria {

namespace {

using Descriptor = asio::posix::stream_descriptor;

constexpr std::size_t max_words = 4096;
constexpr std::size_t max_word = 512;
constexpr int backlog = 16;

struct Name {
  sockaddr_un address{};
  socklen_t size = 0;
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

// "\0talaria/credential/" and half of SHA-256 in hexadecimal. A length before each part keeps different pairs apart.
Name name_of(const Credential& credential) {
  const std::string text = fmt::format("talaria credential 1 {}:{} {}:{}", credential.platform.size(),
                                       credential.platform, credential.account.size(), credential.account);
  const std::string name = std::string("\0talaria/credential/", 20) + to_hex(sha256(text), 16);
  Name result;
  result.address.sun_family = AF_UNIX;
  std::memcpy(result.address.sun_path, name.data(), name.size());
  result.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  return result;
}

Result<UniqueFd> make_socket() {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno(errno, "create a socket for a credential's lock");
  return fd;
}

Task<bool> readable(std::shared_ptr<Descriptor> descriptor, Deadline deadline) {
  asio::steady_timer timer(descriptor->get_executor(), deadline.at());
  if (!deadline.is_never()) {
    timer.async_wait([descriptor](error_code ec) {
      error_code ignored;
      if (!ec) descriptor->cancel(ignored);
    });
  }
  const auto [ec] = co_await descriptor->async_wait(Descriptor::wait_read, use_task);
  co_return !ec;
}

}  // namespace

std::string format_credential_holder(const CredentialHolder& holder) {
  return boost::json::serialize(boost::json::object{{"profile", record_text(holder.profile, max_word)},
                                                    {"scope", record_text(holder.scope, max_word)},
                                                    {"unit", record_text(holder.unit, max_word)},
                                                    {"channel", record_text(holder.channel, max_word)}}) +
         "\n";
}

Result<CredentialHolder> parse_credential_holder(std::string_view text) {
  const auto object = parse_record(text, max_words, "the holder's answer");
  if (!object) return std::unexpected(object.error());
  CredentialHolder holder;
  for (const auto& [name, member] :
       {std::pair{"profile", &CredentialHolder::profile}, std::pair{"scope", &CredentialHolder::scope},
        std::pair{"unit", &CredentialHolder::unit}, std::pair{"channel", &CredentialHolder::channel}}) {
    auto value = text_member(*object, name, max_word);
    if (!value) return std::unexpected(value.error());
    holder.*member = std::move(*value);
  }
  return holder;
}

std::string describe(const CredentialHolder& holder) {
  std::string words = holder.pid > 0 ? fmt::format("PID {}", holder.pid) : "a process of another container";
  if (holder.profile.empty()) {
    if (auto facts = facts_of(holder.pid); holder.pid > 0 && facts)
      words +=
          fmt::format(" ({}, user {})", facts->command_line.empty() ? facts->comm : facts->command_line, facts->uid);
    return words + ", which does not say who it is";
  }
  words += ", profile " + holder.profile;
  if (!holder.unit.empty()) words += fmt::format(", {} service {}", holder.scope, holder.unit);
  if (!holder.channel.empty()) words += ", channel " + holder.channel;
  return words;
}

Result<CredentialLock> CredentialLock::acquire(const Credential& credential) {
  auto fd = make_socket();
  if (!fd) return std::unexpected(fd.error());
  const Name name = name_of(credential);
  if (::bind(fd->get(), name.get(), name.size) != 0 || ::listen(fd->get(), backlog) != 0)
    return fail_errno(errno, fmt::format("lock the account {} of {}", credential.account, credential.platform));
  return CredentialLock(std::move(*fd));
}

Task<> CredentialLock::answer(CredentialHolder self) const {
  const std::string words = format_credential_holder(self);
  // A descriptor of its own, so that the lock may go while this is cancelled.
  UniqueFd own(::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 3));
  if (!own) co_return;
  auto listener = std::make_shared<Descriptor>(co_await asio::this_coro::executor, own.release());
  while (co_await readable(listener, Deadline::never())) {
    // Few bytes into an empty buffer: it never has to wait, and an asker that doesn't read holds up nobody.
    while (UniqueFd asker{::accept4(listener->native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)})
      (void)::send(asker.get(), words.data(), words.size(), MSG_NOSIGNAL);
  }
}

Task<Result<CredentialHolder>> ask_credential_holder(Credential credential, Deadline deadline) {
  auto fd = make_socket();
  if (!fd) co_return std::unexpected(fd.error());
  const Name name = name_of(credential);
  if (::connect(fd->get(), name.get(), name.size) != 0) {
    if (errno == ECONNREFUSED)
      co_return fail(ErrorKind::not_found, fmt::format("nobody uses the account {}", credential.account));
    co_return fail_errno(errno, fmt::format("ask who uses the account {}", credential.account));
  }
  CredentialHolder holder;
  ucred peer{};
  socklen_t size = sizeof peer;
  const bool known = ::getsockopt(fd->get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
  auto connection = std::make_shared<Descriptor>(co_await asio::this_coro::executor, fd->release());
  std::string words;
  std::array<char, max_words> piece{};
  while (words.size() <= max_words && co_await readable(connection, deadline)) {
    const ssize_t n = ::recv(connection->native_handle(), piece.data(), piece.size(), 0);
    if (n <= 0) break;
    words.append(piece.data(), static_cast<std::size_t>(n));
  }
  if (auto told = parse_credential_holder(words)) holder = std::move(*told);
  if (known) holder.pid = peer.pid;
  co_return holder;
}

}  // namespace talaria
