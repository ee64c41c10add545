#pragma once
// An agent behind an OpenAI-compatible endpoint (POST {base_url}/chat/completions;
// platform.openai.com/docs/api-reference/chat): OpenAI, Ollama, llama.cpp, vLLM, OpenRouter and other gateways.

#include <memory>
#include <string>

#include <boost/asio/any_io_executor.hpp>

#include "agent/agent.h"
#include "config/config.h"

namespace talaria {

// `api_key` empty: no Authorization header. The configuration has been checked: base_url is http or https.
[[nodiscard]] std::unique_ptr<Agent> make_openai_agent(const AgentConfig& config, std::string api_key,
                                                       asio::any_io_executor executor);

}  // namespace talaria
