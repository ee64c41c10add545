#pragma once
// The server's side of one exchange: writes the answer's head and framing, and watches whether the client is still
// there. Private to net/.

#include <memory>
#include <optional>
#include <string>

#include "net/http_connection.h"

namespace talaria {

class HttpServerExchange final : public HttpExchange {
 public:
  HttpServerExchange(HttpConnection& connection, std::string_view method, bool http11, bool keep_alive);
  ~HttpServerExchange() override;

  Task<bool> send(HttpResponse response) override;
  Task<bool> begin(HttpResponse head) override;
  Task<bool> write(std::string_view data) override;
  Task<bool> end() override;
  Event& client_gone() override;

  [[nodiscard]] bool untouched() const { return state_ == State::untouched; }
  [[nodiscard]] bool complete() const { return state_ == State::complete; }
  [[nodiscard]] bool keep_alive() const;  // after a complete answer

 private:
  enum class State { untouched, streaming, complete };
  struct GoneWatch;
  static void watch(std::shared_ptr<GoneWatch> gone);

  void put_head(const HttpResponse& response, std::optional<std::size_t> length);
  Task<bool> deliver(std::span<iovec> parts);

  HttpConnection& connection_;
  State state_ = State::untouched;
  bool head_only_;
  bool http11_;
  bool keep_alive_;
  bool chunked_ = false;
  std::shared_ptr<GoneWatch> gone_;
};

}  // namespace talaria
