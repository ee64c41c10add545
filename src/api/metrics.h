#pragma once
// Readiness and Prometheus metrics (text exposition format 0.0.4).

#include "api/api_server.h"

namespace talaria {

// 200 when the gateway serves; 503 while starting or draining. Each channel is named with its state; a chat platform
// that is away does not make the gateway unready.
[[nodiscard]] HttpResponse readiness(const DaemonView& view, const Gateway* gateway);
[[nodiscard]] HttpResponse metrics(const DaemonView& view, const Gateway* gateway);

}  // namespace talaria
