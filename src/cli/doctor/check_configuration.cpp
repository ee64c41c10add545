// The configuration: every mistake, every secret that it refers to, and the address that it wants.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/doctor/doctor.h"
#include "config/schema.h"
#include "net/listen.h"

namespace talaria::cli::doctor {
namespace {

std::vector<SecretRef> secrets_in(const Slot& slot) {
  if (const auto* one = std::get_if<std::optional<SecretRef>*>(&slot))
    return **one ? std::vector{***one} : std::vector<SecretRef>{};
  if (const auto* many = std::get_if<std::vector<SecretRef>*>(&slot)) return **many;
  return {};
}

void check_secret_file(const Patient& patient, const std::string& key, const SecretRef& ref, Findings& findings) {
  const auto& path = ref.name;
  struct stat file{};
  if (::stat(path.c_str(), &file) != 0) {
    const bool hidden = errno == EACCES && ::geteuid() != 0;
    return findings.fail(fmt::format("{}: {} {}", key, path, hidden ? "can't be seen by this user" : "is not there"),
                         hidden ? "sudo " + patient.talaria() + " doctor"
                                : fmt::format("put the secret into {}, then: chmod 600 {}", path, path));
  }
  if ((file.st_mode & 077) != 0)
    findings.fail(fmt::format("{}: {} may be read by others (mode {:04o})", key, path, file.st_mode & 07777U),
                  "chmod 600 " + path);
  if (patient.runner.known && patient.runner.uid != 0 && file.st_uid != patient.runner.uid)
    findings.fail(fmt::format("{}: {} does not belong to {}, whom the gateway runs as", key, path, patient.runner.name),
                  fmt::format("chown {} {}", patient.runner.name, path));
}

// A unit has an environment and credentials of its own, which nobody else sees; whether it has them is known by its
// running.
void check_elsewhere(const Patient& patient, const std::string& key, const SecretRef& ref, Findings& findings) {
  if (patient.alive() || resolve_secret(ref)) return;
  const bool variable = ref.source == SecretRef::Source::environment;
  findings.warn(
      fmt::format("{}: {} is not set here{}", key, to_string(ref),
                  patient.has_unit() ? "; whether the unit has it can't be seen" : ""),
      patient.has_unit()
          ? fmt::format("{} edit talaria-gateway@{} and add [Service] {}", patient.systemctl(), patient.paths.profile,
                        variable ? "EnvironmentFile=FILE" : "LoadCredential=" + ref.name + ":FILE")
          : (variable ? fmt::format("export {}=…", ref.name) : "run the gateway as a unit with LoadCredential="));
}

}  // namespace

void check_configuration(Patient& patient, Findings& findings) {
  if (patient.config.ok()) return findings.ok(patient.paths.config_file);
  for (const auto& diagnostic : patient.config.diagnostics)
    findings.fail(to_string(diagnostic), diagnostic.line > 0
                                             ? fmt::format("edit line {} of {}", diagnostic.line, diagnostic.file)
                                             : patient.talaria() + " config explain");
}

void check_secrets(Patient& patient, Findings& findings) {
  if (!patient.config.ok()) return;
  int secrets = 0;
  const auto said = findings.all().size();
  for (const auto& [key, line] : patient.config.lines) {
    const auto path = find_key(key);
    if (!path) continue;
    const auto slot = slot_of(patient.config.config, *path);
    if (!slot) continue;
    for (const auto& ref : secrets_in(*slot)) {
      ++secrets;
      if (ref.source == SecretRef::Source::file)
        check_secret_file(patient, key, ref, findings);
      else
        check_elsewhere(patient, key, ref, findings);
    }
  }
  if (findings.all().size() == said) findings.ok(fmt::format("{} referred to, none unreadable", secrets));
}

void check_address(Patient& patient, Findings& findings) {
  if (!patient.config.ok()) return;
  const auto& listen = patient.config.config.api.listen;
  if (listen.empty()) return findings.ok("the API is off");
  const auto& api = patient.status.at("api");
  if (api.is_string()) return findings.ok(fmt::format("the API listens on {}", std::string_view(api.get_string())));
  const auto endpoint = parse_endpoint(listen);
  // Trying a UNIX socket would leave a file.
  if (!endpoint || !std::holds_alternative<TcpEndpoint>(*endpoint)) return;
  const auto& state = patient.status.at("state").as_string();
  if (state == "standby" || state == "running" || state == "unknown") return;
  const auto tried = listen_on(*endpoint);
  if (tried) return findings.ok(listen + " is free");
  findings.fail(fmt::format("the API's address can't be had: {}", tried.error().what),
                fmt::format("end what has it, or change [api] listen in {}", patient.paths.config_file));
}

}  // namespace talaria::cli::doctor
