#pragma once
// Environment variables for the length of one test. Tests only.

#include <cstdlib>
#include <map>
#include <optional>
#include <string>

namespace talaria {

class EnvironmentGuard {
 public:
  EnvironmentGuard() = default;
  EnvironmentGuard(const EnvironmentGuard&) = delete;
  EnvironmentGuard& operator=(const EnvironmentGuard&) = delete;
  ~EnvironmentGuard() {
    for (const auto& [name, value] : before_) apply(name, value);
  }
  // None: unset.
  void set(const std::string& name, std::optional<std::string> value) {
    const char* present = std::getenv(name.c_str());
    before_.try_emplace(name, present == nullptr ? std::nullopt : std::optional<std::string>(present));
    apply(name, value);
  }

 private:
  static void apply(const std::string& name, const std::optional<std::string>& value) {
    if (value) {
      ::setenv(name.c_str(), value->c_str(), 1);
    } else {
      ::unsetenv(name.c_str());
    }
  }
  std::map<std::string, std::optional<std::string>> before_;
};

}  // namespace talaria
