#pragma once
// For tests: an exchange that keeps what it is given.

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "net/http.h"
#include "runtime/event.h"

namespace talaria::test {

class RecordedExchange final : public HttpExchange {
 public:
  explicit RecordedExchange(asio::any_io_executor executor) : gone_(executor) {}
  Task<bool> send(HttpResponse given) override {
    EXPECT_FALSE(std::exchange(answered, true));
    response = std::move(given);
    co_return true;
  }
  Task<bool> begin(HttpResponse given) override { return send(std::move(given)); }
  Task<bool> write(std::string_view piece) override {
    streamed += piece;
    co_return true;
  }
  Task<bool> end() override {
    ended = true;
    co_return true;
  }
  Event& client_gone() override { return gone_; }
  bool answered = false;  // or begun
  bool ended = false;     // the stream
  HttpResponse response;
  std::string streamed;

 private:
  Event gone_;
};

}  // namespace talaria::test
