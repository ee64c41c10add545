#pragma once
// HTTP values shared by client and server: no Beast in sight, so that nothing outside net/ pays for its headers.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace talaria {

// Header fields in order; names compare without case (RFC 9110, 5.1).
class HttpHeaders {
 public:
  void set(std::string name, std::string value);  // replaces all of that name
  void add(std::string name, std::string value);
  [[nodiscard]] std::string_view get(std::string_view name) const;  // first value; empty when absent
  [[nodiscard]] bool has(std::string_view name) const;
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& all() const { return fields_; }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

struct HttpRequest {
  std::string method;  // "GET"
  std::string target;  // origin form as sent, "/v1/models?x=1"
  HttpHeaders headers;
  std::string body;
  // Server side only: who asks. For TCP "127.0.0.1:4242"; for a UNIX socket the peer's user id from SO_PEERCRED.
  std::string peer;
  int peer_uid = -1;  // -1: not a UNIX socket
  int peer_pid = -1;
  [[nodiscard]] std::string_view path() const;  // target without the query
};

struct HttpResponse {
  int status = 200;
  HttpHeaders headers;
  std::string body;
};

}  // namespace talaria
