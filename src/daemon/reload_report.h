#pragma once
// A configuration that was looked at, as an answer of the control socket: 200, or 422 with every mistake (RFC 9457; the
// member "diagnostics" holds them one by one, "detail" all lines).

#include <string>
#include <vector>

#include "api/api_server.h"
#include "config/loading.h"

namespace talaria {

[[nodiscard]] HttpResponse describe_mistakes(const std::vector<Diagnostic>& mistakes);
[[nodiscard]] HttpResponse describe_check(const LoadOutcome& checked);

}  // namespace talaria
