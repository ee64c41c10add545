#include "mock_script.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <charconv>
#include <optional>

namespace talaria::bench {
namespace {

namespace json = boost::json;

constexpr std::string_view kStreamHead =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: "
    "chunked\r\n\r\n";
constexpr std::string_view kUsage = R"({"prompt_tokens":9,"completion_tokens":6,"total_tokens":15})";

// The value of a string or literal member, found without parsing: requests come from well-behaved serialisers, and an
// escaped quote in a message's text can't look like `"model"` with both its quotes.
std::string_view scan_member(std::string_view body, std::string_view quoted_name) {
  auto at = body.find(quoted_name);
  if (at == std::string_view::npos) return {};
  at = body.find_first_not_of(" \t\r\n:", at + quoted_name.size());
  if (at == std::string_view::npos) return {};
  if (body[at] != '"') return body.substr(at, body.find_first_of(",}] \r\n", at) - at);
  return body.substr(at + 1, body.find('"', at + 1) - at - 1);
}

bool wants_stream(std::string_view body) { return scan_member(body, R"("stream")") == "true"; }

std::string chunk(std::string_view data) { return fmt::format("{:x}\r\n{}\r\n", data.size(), data); }

std::string event(std::string_view delta, std::string_view finish = "null") {
  return chunk(
      fmt::format("data: {{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
                  "\"model\":\"mock\",\"choices\":[{{\"index\":0,\"delta\":{},\"finish_reason\":{}}}]}}\n\n",
                  delta, finish));
}

std::string role_event() { return event(R"({"role":"assistant","content":""})"); }
std::string text_event(std::string_view text) {
  return event(fmt::format("{{\"content\":{}}}", json::serialize(json::value(json::string(text)))));
}

std::string stream_end(bool usage) {
  std::string end = event("{}", R"("stop")");
  if (usage) {
    end += chunk(
        fmt::format("data: {{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
                    "\"model\":\"mock\",\"choices\":[],\"usage\":{}}}\n\n",
                    kUsage));
  }
  return end + chunk("data: [DONE]\n\n") + "0\r\n\r\n";
}

std::string whole_answer(std::string_view text) {
  return http_response(
      "200 OK", "application/json",
      fmt::format("{{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"mock\","
                  "\"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":{}}},\"logprobs\":null,"
                  "\"finish_reason\":\"stop\"}}],\"usage\":{}}}",
                  json::serialize(json::value(json::string(text))), kUsage));
}

std::string streamed_answer(bool usage) {
  return std::string(kStreamHead) + role_event() + text_event("Hello") + text_event(" from") +
         text_event(" the mock model.") + stream_end(usage);
}

std::string answer_with(std::string_view text, bool stream) {
  if (!stream) return whole_answer(text);
  return std::string(kStreamHead) + role_event() + (text.empty() ? "" : text_event(text)) + stream_end(false);
}

std::string error_response(std::string_view status, std::string_view type, std::string_view headers = "") {
  return http_response(
      status, "application/json",
      fmt::format("{{\"error\":{{\"message\":\"{} says {}\",\"type\":\"{}\",\"param\":null,\"code\":null}}}}",
                  kProviderText, status, type),
      headers);
}

Script once(std::string bytes, ScriptEnd end = ScriptEnd::keep, int delay_ms = 0) {
  Script script;
  script.steps.push_back({std::move(bytes), delay_ms, 1});
  script.end = end;
  return script;
}

std::string echo_text(std::string_view body) {
  boost::system::error_code failure;
  const json::value request = json::parse(body, failure);
  if (failure || !request.is_object()) return "not JSON";
  const json::value* messages = request.as_object().if_contains("messages");
  if (messages == nullptr || !messages->is_array() || messages->as_array().empty()) return "no messages";
  const json::value& last = messages->as_array().back();
  const json::value* content = last.is_object() ? last.as_object().if_contains("content") : nullptr;
  return fmt::format("{}: {}", messages->as_array().size(),
                     content != nullptr && content->is_string() ? std::string_view(content->as_string()) : "");
}

// "429:2" → 2.
std::optional<int> number_of(std::string_view fault) {
  const auto colon = fault.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  int number = 0;
  const auto [end, failure] = std::from_chars(fault.data() + colon + 1, fault.data() + fault.size(), number);
  if (failure != std::errc() || end != fault.data() + fault.size() || number < 0) return std::nullopt;
  return number;
}

Script huge(int mebibytes, bool stream) {
  const std::string block(16 * 1024, 'x');
  Script script;
  if (stream) {
    script.steps.push_back({std::string(kStreamHead) + role_event(), 0, 1});
    script.steps.push_back({text_event(block), 0, mebibytes * 64});
    script.steps.push_back({stream_end(false), 0, 1});
    return script;
  }
  const std::string answer = whole_answer("");
  const std::string_view body = std::string_view(answer).substr(answer.find("\r\n\r\n") + 4);
  const auto cut = body.find(R"("content":")") + std::string_view(R"("content":")").size();
  const auto length = body.size() + std::size_t{1024} * 1024 * static_cast<std::size_t>(mebibytes);
  script.steps.push_back(
      {fmt::format("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}", length,
                   body.substr(0, cut)),
       0, 1});
  script.steps.push_back({block, 0, mebibytes * 64});
  script.steps.push_back({std::string(body.substr(cut)), 0, 1});
  return script;
}

std::string long_text(int sentences) {
  std::string text;
  for (int i = 1; i <= sentences; ++i) text += fmt::format("{}This is sentence number {}.", i == 1 ? "" : " ", i);
  return text;
}

Script drip(int interval_ms, bool stream) {
  if (!stream) return once(answer_with("drip ", false), ScriptEnd::keep, interval_ms * 200);
  Script script;
  script.steps.push_back({std::string(kStreamHead) + role_event(), 0, 1});
  script.steps.push_back({text_event("drip "), interval_ms, 200});
  script.steps.push_back({stream_end(false), 0, 1});
  return script;
}

}  // namespace

std::string http_response(std::string_view status, std::string_view type, std::string_view body,
                          std::string_view headers) {
  return fmt::format("HTTP/1.1 {}\r\nContent-Type: {}\r\n{}Content-Length: {}\r\n\r\n{}", status, type, headers,
                     body.size(), body);
}

ScriptBook::ScriptBook(std::string_view fault)
    : fault_(fault),
      whole_(whole_answer(kAnswerText)),
      streamed_(streamed_answer(false)),
      streamed_usage_(streamed_answer(true)),
      models_(http_response("200 OK", "application/json",
                            R"({"object":"list","data":[{"id":"mock","object":"model","created":1700000000,)"
                            R"("owned_by":"mock"}]})")) {}

std::string ScriptBook::not_found() { return error_response("404 Not Found", "invalid_request_error"); }

std::string_view ScriptBook::fault_of(std::string_view body) const {
  if (!fault_.empty()) return fault_;
  const std::string_view model = scan_member(body, R"("model")");
  return model.starts_with("mock-") ? model.substr(5) : std::string_view();
}

const std::string* ScriptBook::usual(std::string_view body) const {
  if (!fault_of(body).empty()) return nullptr;
  if (!wants_stream(body)) return &whole_;
  return scan_member(body, R"("include_usage")") == "true" ? &streamed_usage_ : &streamed_;
}

Script ScriptBook::build(std::string_view body) {
  const bool stream = wants_stream(body);
  const std::string_view fault = fault_of(body);
  const std::optional<int> number = number_of(fault);
  const std::string_view name = fault.substr(0, fault.find(':'));
  const std::string good = stream ? streamed_ : whole_;

  auto asked = asked_.try_emplace(std::string(fault), 0).first;
  const std::uint64_t before = asked->second++;
  const bool fails_now =
      !number || before % (static_cast<std::uint64_t>(*number) + 1) < static_cast<std::uint64_t>(*number);

  if (name == "slow") return once(good, ScriptEnd::keep, number.value_or(1000));
  if (name == "drip") return drip(number.value_or(50), stream);
  if (name == "hang") return {{}, ScriptEnd::hang};
  if (name == "hang-stream") {
    return once(std::string(kStreamHead) + role_event() + text_event("Hello"), ScriptEnd::hang);
  }
  if (name == "429") {
    return once(fails_now ? error_response("429 Too Many Requests", "rate_limit_error", "Retry-After: 1\r\n") : good);
  }
  if (name == "500") return once(fails_now ? error_response("500 Internal Server Error", "server_error") : good);
  if (name == "401") return once(error_response("401 Unauthorized", "authentication_error"));
  if (name == "cut") {
    if (!stream) return once(good.substr(0, good.size() / 2 + 80), ScriptEnd::close);
    const std::string next = text_event(" from");
    return once(std::string(kStreamHead) + role_event() + text_event("Hello") + next.substr(0, next.size() / 2),
                ScriptEnd::close);
  }
  if (name == "cut-head") return {{}, ScriptEnd::close};
  if (name == "garbage") {
    return once(fmt::format("\x01\x02\xff\xfe {} \r\n\r\n\x80\x81\r\n\r\n", kProviderText), ScriptEnd::close);
  }
  if (name == "garbage-stream") {
    return once(std::string(kStreamHead) +
                chunk(fmt::format("\xff\xfe\n\n: \n\ndata: {}\n\ndata: [1,2]\n\n"
                                  "data: {{\"choices\":7}}\n\n",
                                  kProviderText)) +
                "0\r\n\r\n");
  }
  if (name == "bad-json") {
    const std::string broken = fmt::format("{{\"choices\":[{{\"{}\"", kProviderText);
    if (!stream) return once(http_response("200 OK", "application/json", broken));
    return once(std::string(kStreamHead) + role_event() + chunk("data: " + broken + "\n\n") + stream_end(false));
  }
  if (name == "error-stream") {
    return once(
        std::string(kStreamHead) + role_event() + text_event("Hello") +
        chunk(fmt::format("data: {{\"error\":{{\"message\":\"{}\",\"type\":\"server_error\"}}}}\n\n", kProviderText)) +
        "0\r\n\r\n");
  }
  if (name == "type") {
    return once(http_response("200 OK", "text/html", fmt::format("<html><body>{}</body></html>", kProviderText)));
  }
  if (name == "huge") return huge(number.value_or(64), stream);
  if (name == "empty") return once(answer_with("", stream));
  if (name == "long") return once(answer_with(long_text(number.value_or(50)), stream));
  if (name == "echo") return once(answer_with(echo_text(body), stream));
  return once(error_response("400 Bad Request", "unknown_fault"));
}

}  // namespace talaria::bench
