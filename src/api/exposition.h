#pragma once
// Metrics as text: Prometheus' exposition format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats). Ours,
// because Debian's library for it is a shared C++ library, for which every start of every command would have to load
// the C++ runtime as a shared library, too (cmake/Dependencies.cmake).

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace talaria {

class Exposition {
 public:
  enum class Kind { counter, gauge };
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

  // One sample. The samples of one name come one after the other, with the same kind and help. Names of metrics and
  // labels are ours and valid ([a-zA-Z_:][a-zA-Z0-9_:]*); the values of labels may be any UTF-8.
  void add(Kind kind, std::string_view name, std::string_view help, double value, Labels labels = {});

  [[nodiscard]] std::string take() && { return std::move(text_); }

 private:
  std::string text_;
  std::string family_;
};

}  // namespace talaria
