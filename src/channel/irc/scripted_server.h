#pragma once
// For tests: an IRC server in memory. The channel dials it; the test, a coroutine on the same loop, plays the server
// line by line.

#include <gtest/gtest.h>

#include <boost/asio/any_io_executor.hpp>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>

#include "channel/irc/irc_channel.h"
#include "runtime/event.h"

namespace talaria::irc::test {

// One connection, both directions.
struct Wire {
  explicit Wire(asio::any_io_executor executor) : changed(std::move(executor)) {}
  std::string to_client;
  std::string from_client;
  bool closed = false;
  bool blocked = false;  // the server reads nothing: writes of the client don't end
  std::size_t read_by_client = 0;
  Event changed;
};

class WireStream final : public Stream {
 public:
  explicit WireStream(std::shared_ptr<Wire> wire) : wire_(std::move(wire)) {}
  ~WireStream() override { close(); }
  Task<Result<std::size_t>> read_some(std::string& buffer, std::size_t max, Deadline deadline) override {
    while (wire_->to_client.empty()) {
      if (wire_->closed) co_return fail(ErrorKind::unavailable, "connection closed");
      if (!co_await wire_->changed.wait(deadline)) co_return fail(ErrorKind::timeout, "read");
    }
    const auto n = std::min(max, wire_->to_client.size());
    buffer += wire_->to_client.substr(0, n);
    wire_->to_client.erase(0, n);
    wire_->read_by_client += n;
    co_return n;
  }
  Task<Result<>> write_all(std::string_view data, Deadline deadline) override {
    while (wire_->blocked && !wire_->closed) {
      if (!co_await wire_->changed.wait(deadline)) co_return fail(ErrorKind::timeout, "write");
    }
    if (wire_->closed) co_return fail(ErrorKind::unavailable, "write: broken pipe");
    wire_->from_client += data;
    wire_->changed.pulse();
    co_return Result<>{};
  }
  void close() override {
    wire_->closed = true;
    wire_->changed.pulse();
  }

 private:
  std::shared_ptr<Wire> wire_;
};

// The server's end of a connection.
class Peer {
 public:
  explicit Peer(std::shared_ptr<Wire> wire) : wire_(std::move(wire)) {}
  void send(std::string_view line) {
    wire_->to_client += line;
    wire_->to_client += "\r\n";
    wire_->changed.pulse();
  }
  // The next line of the client that begins with `start`; those before it are passed over. Throws after 5 s.
  Task<std::string> expect(std::string start) {
    const auto deadline = Deadline::in(std::chrono::seconds(5));
    for (;;) {
      for (auto end = wire_->from_client.find("\r\n"); end != std::string::npos;
           end = wire_->from_client.find("\r\n")) {
        const std::string line = wire_->from_client.substr(0, end);
        wire_->from_client.erase(0, end + 2);
        seen += line + "\n";
        if (line.starts_with(start)) co_return line;
      }
      if (wire_->closed) throw std::runtime_error("closed before \"" + start + "\"; seen:\n" + seen);
      if (!co_await wire_->changed.wait(deadline)) throw std::runtime_error("no \"" + start + "\"; seen:\n" + seen);
    }
  }
  // Answers a line that begins with PING.
  Task<> answer_ping(std::string token_start) {
    const auto line = co_await expect("PING :" + token_start);
    send(":s PONG s :" + line.substr(6));
  }
  void drop() {
    wire_->closed = true;
    wire_->changed.pulse();
  }
  void block() { wire_->blocked = true; }
  [[nodiscard]] bool closed() const { return wire_->closed; }
  [[nodiscard]] std::size_t read_by_client() const { return wire_->read_by_client; }
  [[nodiscard]] std::size_t unread() const { return wire_->to_client.size(); }
  // Lets a usual login pass: capabilities none, nick taken as asked for.
  Task<> welcome(std::string nick) {
    co_await expect("USER");
    send("CAP * LS :");
    send(":s 001 " + nick + " :Welcome");
    send(":s 422 " + nick + " :No MOTD");
  }
  std::string seen;

 private:
  std::shared_ptr<Wire> wire_;
};

class ScriptedServer {
 public:
  explicit ScriptedServer(asio::any_io_executor executor) : executor_(executor), arrived_(executor) {}

  Dialer dialer() {
    return [this](DialOptions, Deadline) -> Task<Result<std::unique_ptr<Stream>>> {
      ++dials;
      if (refuse) co_return fail(ErrorKind::unavailable, "connect: refused");
      auto wire = std::make_shared<Wire>(executor_);
      waiting_.push_back(wire);
      arrived_.pulse();
      co_return std::make_unique<WireStream>(wire);
    };
  }
  Task<Peer> accept() {
    while (waiting_.empty()) {
      if (!co_await arrived_.wait(Deadline::in(std::chrono::seconds(5)))) throw std::runtime_error("nobody connects");
    }
    Peer peer(waiting_.front());
    waiting_.pop_front();
    co_return peer;
  }
  int dials = 0;
  bool refuse = false;

 private:
  asio::any_io_executor executor_;
  std::deque<std::shared_ptr<Wire>> waiting_;
  Event arrived_;
};

}  // namespace talaria::irc::test
