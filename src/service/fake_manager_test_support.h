#pragma once
// A D-Bus peer on a UNIX socket of its own, on a thread of its own, for tests: answers like a systemd manager, or
// misbehaves.

#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-id128.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>

#include "base/fd.h"

namespace talaria::testing {

// A directory that goes away with its contents.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "talaria-service-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = name;
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Listens; hands each connection to `serve` on its thread, one after the other.
class FakePeer {
 public:
  using Serve = std::function<void(UniqueFd, const std::atomic<bool>& stopping)>;

  FakePeer(const std::string& path, Serve serve) : listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    if (::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 ||
        ::listen(listener_.get(), 16) < 0)
      throw std::runtime_error("listen " + path);
    thread_ = std::thread([this, serve = std::move(serve)] {
      while (!stopping_) {
        UniqueFd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!connection) return;
        ++connections_;
        serve(std::move(connection), stopping_);
      }
    });
  }
  FakePeer(const FakePeer&) = delete;
  FakePeer& operator=(const FakePeer&) = delete;
  ~FakePeer() {
    stopping_ = true;
    ::shutdown(listener_.get(), SHUT_RDWR);  // wakes accept()
    thread_.join();
  }
  [[nodiscard]] int connections() const { return connections_; }

 private:
  UniqueFd listener_;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> connections_ = 0;
  std::thread thread_;
};

// Speaks D-Bus as the server and passes every method call to `handle`, which replies (or doesn't). `uninvited` runs
// once per connection, after authentication, and may emit signals.
using HandleCall = std::function<void(sd_bus_message* call)>;
inline FakePeer::Serve dbus_server(HandleCall handle) {
  return [handle = std::move(handle)](UniqueFd connection, const std::atomic<bool>& stopping) {
    sd_bus* bus = nullptr;
    sd_id128_t id;
    sd_id128_randomize(&id);
    sd_bus_new(&bus);
    const int fd = connection.release();  // sd-bus closes it
    sd_bus_set_fd(bus, fd, fd);
    sd_bus_set_server(bus, 1, id);
    auto on_message = [](sd_bus_message* m, void* userdata, sd_bus_error*) -> int {
      if (sd_bus_message_is_method_call(m, nullptr, nullptr) > 0) (*static_cast<const HandleCall*>(userdata))(m);
      return 1;
    };
    sd_bus_add_filter(bus, nullptr, on_message, const_cast<HandleCall*>(&handle));
    if (sd_bus_start(bus) >= 0) {
      while (!stopping) {
        const int r = sd_bus_process(bus, nullptr);
        if (r < 0) break;
        if (r == 0) sd_bus_wait(bus, 20'000);
      }
    }
    sd_bus_close(bus);
    sd_bus_unref(bus);
  };
}

}  // namespace talaria::testing
