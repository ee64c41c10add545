#include "service/linger.h"

#include <unistd.h>

#include "service/bus.h"

namespace talaria {

bool linger_enabled(const std::string& user) {
  return ::access(("/var/lib/systemd/linger/" + user).c_str(), F_OK) == 0;
}

Result<> enable_linger(unsigned uid, Deadline deadline) {
  const std::string tried = "ask logind to let this user linger";
  auto bus = open_bus({"/run/dbus/system_bus_socket", true});
  if (!bus) return std::unexpected(bus.error());
  const auto micros_left = [&] {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(deadline.left()).count()) +
           1;
  };
  // The bus may hang before it has let us in, where sd-bus's own calls would wait for long.
  while (true) {
    if (const int ready = sd_bus_is_ready(bus->get()); ready != 0) {
      if (ready < 0) return fail_errno(-ready, tried);
      break;
    }
    const int r = sd_bus_process(bus->get(), nullptr);
    if (r < 0) return fail_errno(-r, tried);
    if (deadline.expired()) return fail(ErrorKind::timeout, tried + ": the bus does not answer");
    if (r == 0) (void)sd_bus_wait(bus->get(), micros_left());
  }
  sd_bus_message* raw = nullptr;
  int r = sd_bus_message_new_method_call(bus->get(), &raw, "org.freedesktop.login1", "/org/freedesktop/login1",
                                         "org.freedesktop.login1.Manager", "SetLinger");
  const MessagePtr message(raw);
  if (r >= 0) r = sd_bus_message_append(raw, "ubb", uid, 1, 0);
  if (r < 0) return fail_errno(-r, tried);
  sd_bus_error error{};
  r = sd_bus_call(bus->get(), raw, micros_left(), &error, nullptr);
  const std::string words = error.message == nullptr ? "" : error.message;
  sd_bus_error_free(&error);
  if (r >= 0) return {};
  if (words.empty()) return fail_errno(-r, tried);
  return fail(r == -EACCES || r == -EPERM ? ErrorKind::permission : ErrorKind::unavailable, tried + ": " + words);
}

}  // namespace talaria
