#pragma once
// The control socket: how the command line, the service manager's hooks and a second instance talk to the running
// gateway. HTTP over <runtime>/control.sock; a peer counts by its user id (SO_PEERCRED): ours or root's, nobody else.
//
//   GET  /control/status                      POST /control/announce {"target","by"}
//   POST /control/stop {"by"}                 POST /control/restart {"by"}
//   POST /control/leave {"target","by"}       POST /control/start {"by"}
//   POST /control/upgrade {"program","by"}
//   POST /control/reload {"by"}               POST /control/check-restart
//   POST /control/send {"channel","conversation","thread","text","wait_ms"}
//     200 sent, 202 stored and on its way (also when a stop ends the wait), 502 the platform will not take it
//   GET  /control/outbox?state=S              POST /control/outbox/retry|discard {"id"}
//   GET  /control/sessions                    GET  /control/session?key=K      POST /control/session/reset {"key"}
//   GET  /control/history?n=N                 and all of /v1

#include <functional>
#include <string>

#include "api/api_server.h"
#include "process/identity.h"
#include "store/store.h"

namespace talaria {

// What the daemon does when asked; each is called on the event loop and returns at once.
struct ControlActions {
  std::function<Result<>(const std::string& target, const std::string& by)> announce;
  std::function<Incarnation(const std::string& by)> stop;  // who will end
  std::function<Result<>(const std::string& by)> restart;
  // An operator asked for the start: a back-off is not waited out.
  std::function<void(const std::string& by)> start;
  // Another incarnation takes our place. conflict: a service manager runs us; invalid: meant for another incarnation.
  std::function<Result<>(const std::string& target, const std::string& by)> leave;
  // Takes as long as the new program's self-check. Empty `program`: the one that is installed where ours was.
  std::function<Task<boost::json::object>(const std::string& program, const std::string& by)> upgrade;
  // 422 with every mistake when the configuration is wrong. A reload ends when what it takes out is gone.
  std::function<Task<HttpResponse>(std::string by)> reload;
  std::function<HttpResponse()> check_restart;  // whether this configuration would start again
};

class ControlRouter {
 public:
  ControlRouter(DaemonView view, ControlActions actions) : view_(std::move(view)), actions_(std::move(actions)) {}
  void attach(Gateway* gateway, Store* store) {
    gateway_ = gateway;
    store_ = store;
  }
  Task<> handle(HttpRequest request, HttpExchange& exchange);

 private:
  Task<HttpResponse> answer(HttpRequest request);
  Task<HttpResponse> answer_store(std::string path, HttpRequest request);
  Task<HttpResponse> send(boost::json::object body);

  DaemonView view_;
  ControlActions actions_;
  Gateway* gateway_ = nullptr;
  Store* store_ = nullptr;
};

}  // namespace talaria
