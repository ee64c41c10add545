#pragma once
// Where a systemd manager can be talked to, and who owns a connection to it.
//
// Each manager listens on two D-Bus addresses: a private socket that speaks peer to peer (no daemon between, no Hello,
// no destination names; root or the manager's own user only) and its name on the message bus. The private one answers
// where the bus daemon is gone or hangs, so it comes first.

#include <systemd/sd-bus.h>

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "service/manager.h"

namespace talaria {

struct BusEndpoint {
  std::string path;  // of the UNIX socket
  bool bus = false;  // a message bus (says Hello, addresses org.freedesktop.systemd1) rather than the manager itself
};
// "private socket /run/systemd/private" or "bus /run/dbus/system_bus_socket".
[[nodiscard]] std::string to_string(const BusEndpoint& endpoint);

// In the order to try. `runtime_directory` is XDG_RUNTIME_DIR (empty: /run/user/UID). None for ManagerKind::none.
[[nodiscard]] std::vector<BusEndpoint> manager_endpoints(ManagerKind manager, std::string runtime_directory,
                                                         unsigned uid);
// The same with this process's environment and user.
[[nodiscard]] std::vector<BusEndpoint> manager_endpoints(ManagerKind manager);

// Closing never flushes: a peer that doesn't read can't hold us up.
struct BusCloser {
  void operator()(sd_bus* bus) const {
    sd_bus_close(bus);
    sd_bus_unref(bus);
  }
};
using BusPtr = std::unique_ptr<sd_bus, BusCloser>;

struct MessageUnref {
  void operator()(sd_bus_message* message) const { sd_bus_message_unref(message); }
};
using MessagePtr = std::unique_ptr<sd_bus_message, MessageUnref>;

struct SlotUnref {
  void operator()(sd_bus_slot* slot) const { sd_bus_slot_unref(slot); }
};
using SlotPtr = std::unique_ptr<sd_bus_slot, SlotUnref>;

// Connects without waiting: authentication goes on while messages are processed.
[[nodiscard]] Result<BusPtr> open_bus(const BusEndpoint& endpoint);

// Names of systemd's D-Bus interface (org.freedesktop.systemd1(5)).
namespace systemd1 {
inline constexpr const char* service = "org.freedesktop.systemd1";
inline constexpr const char* path = "/org/freedesktop/systemd1";
inline constexpr const char* manager = "org.freedesktop.systemd1.Manager";
inline constexpr const char* unit_interface = "org.freedesktop.systemd1.Unit";
inline constexpr const char* service_interface = "org.freedesktop.systemd1.Service";
inline constexpr const char* properties = "org.freedesktop.DBus.Properties";
}  // namespace systemd1

// "/org/freedesktop/systemd1/unit/…", the object of a unit (loaded or not).
[[nodiscard]] std::string unit_object(const std::string& unit);

// Asks the endpoints in turn. What manager.h's ask_unit() does, with the sockets passed in.
Task<Result<UnitAnswer>> ask_unit_at(std::vector<BusEndpoint> endpoints, std::string unit, Deadline deadline);

}  // namespace talaria
