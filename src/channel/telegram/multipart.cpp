#include "channel/telegram/multipart.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/random.h"
#include "channel/text_split.h"

namespace talaria::telegram {

namespace {

std::string safe_name(std::string_view name) {
  std::string out = replace_invalid_utf8(name);
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '"' || c == '\\' || c == '/') c = '_';
  return out.empty() ? "file" : out;
}

std::string safe_type(std::string_view type) {
  const bool good = type.find('/') != type.npos && std::ranges::all_of(type, [](char c) {
                      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/' ||
                             c == '-' || c == '+' || c == '.';
                    });
  return good ? std::string(type) : "application/octet-stream";
}

}  // namespace

Form make_form(const std::vector<std::pair<std::string, std::string>>& fields, const FormFile& file) {
  // 100 bits of chance: in no file.
  const std::string boundary = "talaria-" + random_id(20);
  Form form{"multipart/form-data; boundary=" + boundary, {}};
  form.body.reserve(file.bytes.size() + 1024);
  for (const auto& [name, value] : fields) {
    form.body +=
        fmt::format("--{}\r\nContent-Disposition: form-data; name=\"{}\"\r\n\r\n{}\r\n", boundary, name, value);
  }
  form.body +=
      fmt::format("--{}\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"{}\"\r\nContent-Type: {}\r\n\r\n",
                  boundary, file.field, safe_name(file.name), safe_type(file.type));
  form.body += file.bytes;
  form.body += fmt::format("\r\n--{}--\r\n", boundary);
  return form;
}

}  // namespace talaria::telegram
