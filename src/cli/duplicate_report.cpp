#include "cli/duplicate_report.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

#include "base/say.h"
#include "base/text.h"
#include "cli/unit_access.h"
#include "service/units.h"

namespace talaria::cli {
namespace json = boost::json;

std::vector<Duplicate> duplicates_of(const ProfilePaths& paths, Scope scope, int own_pid) {
  DuplicateQuestion question;
  question.profile = paths.profile;
  question.state_directory = paths.state_directory;
  question.manager = manager_of(scope);
  question.unit = unit_name(paths.profile);
  question.own_pid = own_pid;
  question.explicit_home = std::getenv("TALARIA_HOME") != nullptr;
  return find_duplicates(question, Millis{500});
}

json::array to_json(const std::vector<Duplicate>& duplicates) {
  const auto text_or_null = [](const std::string& text) {
    return text.empty() ? json::value(nullptr) : json::value(text);
  };
  json::array rows;
  for (const auto& each : duplicates)
    rows.push_back(json::object{{"kind", each.kind},
                                {"scope", each.scope},
                                {"user", text_or_null(each.user)},
                                {"unit", text_or_null(each.unit)},
                                {"pid", each.pid == 0 ? json::value(nullptr) : json::value(each.pid)},
                                {"state", each.state},
                                {"home", text_or_null(each.home)},
                                {"same_home", each.same_home},
                                {"text", each.text},
                                {"remedy", each.remedy}});
  return rows;
}

void warn_of(const std::vector<Duplicate>& duplicates) {
  for (const auto& each : duplicates) say("talaria: warning: {}; `{}` ends that\n", printable(each.text), each.remedy);
}

}  // namespace talaria::cli
