#pragma once
// Calls of the Bot API. The token stands in the path of every URL: no URL is ever told or logged, and words of the
// server's are searched for it.

#include <optional>
#include <string>

#include <boost/json/object.hpp>

#include "channel/telegram/api_answer.h"
#include "channel/telegram/multipart.h"
#include "net/http_client.h"

namespace talaria::telegram {

// The number before the colon of a token, which is the bot's own; empty: this is no token.
[[nodiscard]] std::string bot_number(std::string_view token);

class BotApi {
 public:
  // `root`: "https://api.telegram.org".
  BotApi(asio::any_io_executor executor, std::string_view root, std::string token, const std::string& ca_file);

  // What keeps every call from being made: no token, no address; empty: nothing.
  [[nodiscard]] const std::string& defect() const { return defect_; }

  // One that must not happen twice, or may. Its connection is not used again when it could have been closed meanwhile.
  Task<ApiResult<boost::json::value>> call(std::string method, boost::json::object parameters, Deadline deadline);
  Task<ApiResult<boost::json::value>> upload(std::string method,
                                             std::vector<std::pair<std::string, std::string>> fields, FormFile file,
                                             Deadline deadline);
  // getUpdates, on a connection of its own.
  Task<ApiResult<boost::json::value>> poll(boost::json::object parameters, Deadline deadline);
  // Calls from now on don't use the connections that are kept.
  void connect_anew();
  // A file that getFile named, at most max_attachment bytes.
  Task<ApiResult<std::string>> download(std::string path, Deadline deadline);

 private:
  Task<ApiResult<boost::json::value>> post(HttpClient& client, std::string method, std::string type, std::string body,
                                           Deadline deadline);
  [[nodiscard]] ApiFailure transport_failure(const HttpFailure& failure) const;
  [[nodiscard]] std::string without_token(std::string text) const;

  std::string token_;
  std::string defect_;
  HttpUrl root_;
  asio::any_io_executor executor_;
  std::string ca_file_;
  std::unique_ptr<HttpClient> calls_;
  HttpClient polls_;
};

}  // namespace talaria::telegram
