// `talaria doctor`: what is wrong, and what to do about it (doctor/doctor.h).
#include <fmt/format.h>

#include <boost/json.hpp>
#include <cstdio>
#include <memory>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/doctor/doctor.h"
#include "lifecycle/exit_code.h"

namespace talaria::cli {
namespace json = boost::json;
namespace {

using doctor::Finding;
using doctor::Level;

struct Told {
  std::string check;
  Finding finding;
};

const char* paint(Level level) {
  if (!colour()) return "";
  return level == Level::ok ? "\x1b[32m" : level == Level::warn ? "\x1b[33m" : "\x1b[31m";
}

void print_text(const std::vector<Told>& told, std::size_t wrong) {
  for (const auto& [check, finding] : told) {
    fmt::print("{}{:<4}{}  {:<13}  {}\n", paint(finding.level), to_string(finding.level), colour() ? "\x1b[0m" : "",
               check, printable(finding.what));
    if (!finding.advice.empty()) fmt::print("{:<21}→ {}\n", "", printable(finding.advice));
  }
  if (wrong == 0)
    fmt::print("\nNothing is wrong.\n");
  else
    fmt::print("\n{} finding{} with advice.\n", wrong, wrong == 1 ? "" : "s");
}

void print_json(const doctor::Patient& patient, const std::vector<Told>& told, std::size_t wrong) {
  json::array findings;
  for (const auto& [check, finding] : told)
    findings.push_back(
        json::object{{"check", check},
                     {"level", to_string(finding.level)},
                     {"what", finding.what},
                     {"advice", finding.advice.empty() ? json::value(nullptr) : json::value(finding.advice)}});
  fmt::print("{}\n", json::serialize(json::object{{"profile", patient.paths.profile},
                                                  {"scope", to_string(patient.scope)},
                                                  {"ok", wrong == 0},
                                                  {"findings", std::move(findings)}}));
}

int run_doctor(const Context& context, bool as_json) {
  auto patient = doctor::examine(context);
  if (!patient) return report(patient.error());
  std::vector<Told> told;
  for (const auto& check : doctor::checks()) {
    doctor::Findings findings;
    check.look(*patient, findings);
    for (const auto& finding : findings.all()) told.push_back({check.name, finding});
  }
  const auto wrong = static_cast<std::size_t>(
      std::ranges::count_if(told, [](const Told& each) { return each.finding.level != Level::ok; }));
  if (as_json)
    print_json(*patient, told, wrong);
  else
    print_text(told, wrong);
  return static_cast<int>(wrong == 0 ? ExitCode::planned : ExitCode::unplanned);
}

}  // namespace

void add_doctor(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("doctor", "Look for what is wrong, and say what to do about it");
  command->footer(
      "Changes nothing. Exit codes: 0 nothing is wrong, 1 there is advice (warn or fail).\n\nExamples:\n"
      "  talaria doctor\n  sudo talaria --system -p work doctor --json");
  auto as_json = std::make_shared<bool>(false);
  command->add_flag("--json", *as_json, "Print one JSON document");
  command->callback([&context, as_json] { context.exit_code = run_doctor(context, *as_json); });
}

}  // namespace talaria::cli
