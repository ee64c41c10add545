#include "agent/agent.h"

namespace talaria {

std::string_view to_string(Role role) {
  switch (role) {
    case Role::system: return "system";
    case Role::user: return "user";
    case Role::assistant: return "assistant";
  }
  return "user";
}

std::optional<Role> parse_role(std::string_view name) {
  for (const Role role : {Role::system, Role::user, Role::assistant}) {
    if (name == to_string(role)) return role;
  }
  return std::nullopt;
}

}  // namespace talaria
