#include "gateway/attachment_json.h"

#include <boost/json.hpp>

namespace talaria {
namespace json = boost::json;

std::string format_attachments(const std::vector<Attachment>& attachments) {
  if (attachments.empty()) return {};
  json::array list;
  for (const Attachment& file : attachments)
    list.push_back({{"path", file.path}, {"name", file.name}, {"type", file.type}, {"size", file.size}});
  return json::serialize(list);
}

std::vector<Attachment> parse_attachments(const std::string& text) {
  std::vector<Attachment> attachments;
  if (text.empty()) return attachments;
  boost::system::error_code error;
  const json::value parsed = json::parse(text, error);
  if (error || !parsed.is_array()) return attachments;
  const auto string_at = [](const json::object& file, const char* key) {
    const auto* value = file.if_contains(key);
    return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
  };
  for (const json::value& item : parsed.get_array()) {
    if (!item.is_object()) continue;
    const auto& file = item.get_object();
    const auto* size = file.if_contains("size");
    attachments.push_back({.path = string_at(file, "path"),
                           .name = string_at(file, "name"),
                           .type = string_at(file, "type"),
                           .size = size != nullptr && size->is_int64() ? size->get_int64() : 0});
  }
  return attachments;
}

}  // namespace talaria
