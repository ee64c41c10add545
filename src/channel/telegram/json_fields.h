#pragma once
// Reading JSON that may be anything: a field that is missing or of another type reads as empty.

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <string_view>

namespace talaria::telegram {

[[nodiscard]] inline const boost::json::object* object_at(const boost::json::object& in, std::string_view name) {
  const auto* value = in.if_contains(name);
  return value != nullptr ? value->if_object() : nullptr;
}

[[nodiscard]] inline const boost::json::array* array_at(const boost::json::object& in, std::string_view name) {
  const auto* value = in.if_contains(name);
  return value != nullptr ? value->if_array() : nullptr;
}

[[nodiscard]] inline std::string_view text_at(const boost::json::object& in, std::string_view name) {
  const auto* value = in.if_contains(name);
  const auto* text = value != nullptr ? value->if_string() : nullptr;
  return text != nullptr ? std::string_view(text->data(), text->size()) : std::string_view();
}

[[nodiscard]] inline std::int64_t number_at(const boost::json::object& in, std::string_view name) {
  const auto* value = in.if_contains(name);
  const auto* number = value != nullptr ? value->if_int64() : nullptr;
  return number != nullptr ? *number : 0;
}

[[nodiscard]] inline bool flag_at(const boost::json::object& in, std::string_view name) {
  const auto* value = in.if_contains(name);
  const auto* flag = value != nullptr ? value->if_bool() : nullptr;
  return flag != nullptr && *flag;
}

}  // namespace talaria::telegram
