#include "daemon/reload_report.h"

namespace talaria {
namespace json = boost::json;

HttpResponse describe_mistakes(const std::vector<Diagnostic>& mistakes) {
  std::string lines;
  json::array each;
  for (const Diagnostic& mistake : mistakes) {
    lines += (lines.empty() ? "" : "\n") + to_string(mistake);
    each.push_back(json::object{{"file", mistake.file},
                                {"line", mistake.line},
                                {"column", mistake.column},
                                {"key", mistake.key},
                                {"message", mistake.message}});
  }
  json::object body{
      {"title", "the configuration is wrong"}, {"status", 422}, {"detail", lines}, {"diagnostics", std::move(each)}};
  HttpResponse response = json_response(body, 422);
  response.headers.set("Content-Type", "application/problem+json");
  return response;
}

HttpResponse describe_check(const LoadOutcome& checked) {
  return checked.ok() ? json_response(json::object{{"ok", true}}) : describe_mistakes(checked.diagnostics);
}

}  // namespace talaria
