#include "service/bus.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>

namespace talaria {
namespace {

// The value of a D-Bus address: every byte outside the "optionally escaped" set as %XX (D-Bus specification, Server
// Addresses).
std::string escape_address(std::string_view path) {
  std::string out;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-_/.\\*").contains(c);
    if (plain)
      out += c;
    else
      out += fmt::format("%{:02x}", byte);
  }
  return out;
}

}  // namespace

std::string to_string(const BusEndpoint& endpoint) {
  return fmt::format("{} {}", endpoint.bus ? "bus" : "private socket", endpoint.path);
}

std::vector<BusEndpoint> manager_endpoints(ManagerKind manager, std::string runtime_directory, unsigned uid) {
  switch (manager) {
    case ManagerKind::systemd_system: {
      std::vector<BusEndpoint> found;
      if (uid == 0) found.push_back({"/run/systemd/private", false});
      found.push_back({"/run/dbus/system_bus_socket", true});
      return found;
    }
    case ManagerKind::systemd_user:
      if (runtime_directory.empty()) runtime_directory = fmt::format("/run/user/{}", uid);
      return {{runtime_directory + "/systemd/private", false}, {runtime_directory + "/bus", true}};
    default: break;  // no D-Bus there
  }
  return {};
}

std::vector<BusEndpoint> manager_endpoints(ManagerKind manager) {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  return manager_endpoints(manager, runtime == nullptr ? "" : runtime, ::geteuid());
}

Result<BusPtr> open_bus(const BusEndpoint& endpoint) {
  const auto tried = "connect to systemd's " + to_string(endpoint);
  sd_bus* raw = nullptr;
  if (const int r = sd_bus_new(&raw); r < 0) return fail_errno(-r, tried);
  BusPtr bus(raw);
  int r = sd_bus_set_address(raw, ("unix:path=" + escape_address(endpoint.path)).c_str());
  if (r >= 0 && endpoint.bus) r = sd_bus_set_bus_client(raw, 1);
  if (r >= 0) r = sd_bus_start(raw);
  if (r < 0) return fail_errno(-r, tried);
  return bus;
}

std::string unit_object(const std::string& unit) {
  char* path = nullptr;
  if (sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit.c_str(), &path) < 0) return {};
  const std::unique_ptr<char, decltype(&std::free)> owned(path, &std::free);
  return owned.get();
}

}  // namespace talaria
