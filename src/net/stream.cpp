#include "net/stream.h"

#include <fmt/format.h>

#include <algorithm>

#include "net/transport.h"
#include "net/watchdog.h"

namespace talaria {

namespace {

constexpr std::size_t read_size = 16 * 1024;

class DialedStream final : public Stream {
 public:
  explicit DialedStream(asio::any_io_executor executor) : dog_(executor), transport_(executor, dog_) {}

  Task<Result<std::size_t>> read_some(std::string& buffer, std::size_t max, Deadline deadline) override {
    // Cancellation unwinds through here: the buffer never keeps room that nothing was read into.
    struct Room {
      std::string& buffer;
      std::size_t filled;
      ~Room() { buffer.resize(filled); }
    } room{buffer, buffer.size()};
    const std::size_t size = std::clamp<std::size_t>(max, 1, read_size);
    buffer.resize(room.filled + size);
    auto count = co_await transport_.read_some({buffer.data() + room.filled, size}, deadline);
    if (count && *count == 0) co_return fail(ErrorKind::unavailable, "connection closed");
    if (count) room.filled += *count;
    co_return count;
  }

  Task<Result<>> write_all(std::string_view data, Deadline deadline) override {
    return transport_.write_all(data, deadline);
  }
  Task<Result<>> start_tls(std::string host, std::string ca_file, Deadline deadline) override {
    auto context = TlsContext::make(ca_file);
    if (!context) co_return std::unexpected(context.error());
    co_return co_await transport_.start_tls(std::move(*context), std::move(host), {}, deadline);
  }
  void close() override { transport_.close(); }

  Transport& transport() { return transport_; }

 private:
  Watchdog dog_;
  Transport transport_;
};

}  // namespace

Task<Result<std::unique_ptr<Stream>>> dial(DialOptions options, Deadline deadline) {
  auto stream = std::make_unique<DialedStream>(co_await asio::this_coro::executor);
  const auto failed = [&](const Error& error) {
    return fail(error.kind, fmt::format("connect to {}:{}: {}", options.host, options.port, error.what));
  };
  auto connected = co_await stream->transport().connect_tcp(options.host, options.port, deadline);
  if (!connected) co_return failed(connected.error());
  if (options.tls) {
    auto secure = co_await stream->start_tls(options.host, options.ca_file, deadline);
    if (!secure) co_return failed(secure.error());
  }
  co_return stream;
}

}  // namespace talaria
