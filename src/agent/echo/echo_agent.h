#pragma once
// Says back what it was told, in a few pieces: for trying out a channel without a model.

#include <memory>

#include "agent/agent.h"

namespace talaria {

[[nodiscard]] std::unique_ptr<Agent> make_echo_agent();

}  // namespace talaria
