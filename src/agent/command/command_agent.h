#pragma once
// An agent that is any program: it gets the message to answer on its standard input, what it prints is the answer.
//
//   TALARIA_SESSION       session key
//   TALARIA_SYSTEM_PROMPT the agent's `system` from the configuration, where it has one
//
// The program has done well when it exits with 0. It runs in the gateway's working directory, in a process group of its
// own that ends with the turn (process/child.h).

#include <memory>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "config/config.h"
#include "process/child_handover.h"

namespace talaria {

// `hidden_environment`: names of variables that hold secrets of the gateway. `children`: where a program that runs for
// a turn goes when another version of the gateway takes over; none: it ends with this one.
[[nodiscard]] std::unique_ptr<Agent> make_command_agent(const AgentConfig& config,
                                                        std::vector<std::string> hidden_environment,
                                                        std::shared_ptr<ChildHandover> children = {});

}  // namespace talaria
