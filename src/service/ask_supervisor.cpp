#include "service/ask_supervisor.h"

#include <fmt/format.h>

#include "net/http_client.h"
#include "process/small_file.h"
#include "runtime/event.h"

namespace talaria {
namespace {

// s6-supervise writes its wish right after the signal; runsv before it. An answer "up" is believed when it has stood
// for this long.
constexpr Millis settle_time{80};
constexpr Millis settle_step{5};

Task<Result<SupervisorAnswer>> ask_file(const Supervision& supervision, int pid, Deadline deadline) {
  const auto settled = deadline.earlier(Deadline::in(settle_time));
  for (;;) {
    auto answer = read_wish(supervision, pid);
    if (!answer || answer->wanted == Wanted::down || settled.expired()) co_return answer;
    co_await sleep_for(settle_step);
  }
}

Result<HttpUrl> supervisord_url(const std::string& server) {
  if (constexpr std::string_view scheme = "unix://"; server.starts_with(scheme)) {
    HttpUrl url;
    url.origin.host = "localhost";
    url.origin.unix_path = server.substr(scheme.size());
    return url;
  }
  return parse_http_url(server);
}

Task<Result<SupervisorAnswer>> ask_supervisord(const Supervision& supervision, int pid, Deadline deadline) {
  if (supervision.server.empty() || supervision.unit.empty())
    co_return fail(ErrorKind::not_found, "supervisord has no RPC server");
  auto url = supervisord_url(supervision.server);
  if (!url) co_return std::unexpected(url.error());
  HttpRequest request;
  request.method = "POST";
  request.target = "/RPC2";
  request.headers.set("Content-Type", "text/xml");
  request.body = supervisord_question(supervision.unit);
  HttpClientOptions options;
  options.body_bytes = 64 * 1024;
  HttpClient client(co_await asio::this_coro::executor, options);
  auto response = co_await client.request(url->origin, std::move(request), deadline);
  if (!response) co_return std::unexpected(response.error().error);
  if (response->status != 200)
    co_return fail(response->status == 401 ? ErrorKind::permission : ErrorKind::unavailable,
                   fmt::format("{} answers {}", supervision.server, response->status));
  auto answer = parse_supervisord_answer(response->body);
  if (!answer) co_return answer;
  if (answer->pid != 0 && answer->pid != pid)
    co_return fail(ErrorKind::invalid, fmt::format("{} speaks of PID {}", supervision.server, answer->pid));
  answer->via = supervision.server;
  co_return answer;
}

}  // namespace

Result<SupervisorAnswer> read_wish(const Supervision& supervision, int pid) {
  if (supervision.manager != ManagerKind::runit && supervision.manager != ManagerKind::s6)
    return fail(ErrorKind::not_found, "this service manager keeps its wish in no file");
  const std::string path = supervision.unit + "/supervise/status";
  const auto bytes = read_small_file(path, 256);
  if (!bytes) return std::unexpected(bytes.error());
  auto answer = supervision.manager == ManagerKind::s6 ? parse_s6_status(*bytes) : parse_runit_status(*bytes);
  if (!answer) return answer;
  if (answer->pid != pid) return fail(ErrorKind::invalid, fmt::format("{} speaks of PID {}", path, answer->pid));
  answer->via = path;
  return answer;
}

Task<Result<SupervisorAnswer>> ask_supervisor(Supervision supervision, int pid, Deadline deadline) {
  switch (supervision.manager) {
    case ManagerKind::runit:
    case ManagerKind::s6: co_return co_await ask_file(supervision, pid, deadline);
    case ManagerKind::supervisord: co_return co_await ask_supervisord(supervision, pid, deadline);
    default: break;
  }
  co_return fail(ErrorKind::not_found, "this service manager can't be asked");
}

}  // namespace talaria
