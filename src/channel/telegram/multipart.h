#pragma once
// multipart/form-data (RFC 7578): fields and one file.

#include <string>
#include <utility>
#include <vector>

namespace talaria::telegram {

struct FormFile {
  std::string field;
  std::string name;  // what the receiver sees; anything that could break the header is replaced
  std::string type;  // media type; empty or not one: application/octet-stream
  std::string bytes;
};

struct Form {
  std::string content_type;  // with the boundary
  std::string body;
};
[[nodiscard]] Form make_form(const std::vector<std::pair<std::string, std::string>>& fields, const FormFile& file);

}  // namespace talaria::telegram
