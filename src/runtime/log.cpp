#include "runtime/log.h"

#include <spdlog/async.h>
#include <spdlog/details/null_mutex.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#include <unistd.h>
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <mutex>

#include "base/say.h"

namespace talaria::log {
namespace {

class JournalSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit JournalSink(std::string_view profile) : profile_(fmt::format("TALARIA_PROFILE={}", profile)) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& msg) override {
    int priority = LOG_INFO;
    if (msg.level >= spdlog::level::err) {
      priority = LOG_ERR;
    } else if (msg.level == spdlog::level::warn) {
      priority = LOG_WARNING;
    } else if (msg.level <= spdlog::level::debug) {
      priority = LOG_DEBUG;
    }
    std::string message = fmt::format("MESSAGE={}", std::string_view(msg.payload.data(), msg.payload.size()));
    std::string level = fmt::format("PRIORITY={}", priority);
    const iovec fields[] = {field(message), field(level), field(identifier_), field(profile_)};
    // The journal reads standard error, too; there a line has no fields.
    if (sd_journal_sendv(fields, static_cast<int>(std::size(fields))) < 0)
      say("{}\n", std::string_view(message).substr(std::string_view("MESSAGE=").size()));
  }
  void flush_() override {}

 private:
  static iovec field(std::string& text) { return {text.data(), text.size()}; }

  std::string identifier_ = "SYSLOG_IDENTIFIER=talaria";
  std::string profile_;
};

// Passes lines on, in the pool's thread, and says before the next one how many the pool has dropped. There always is a
// next one: lines are dropped only in favour of younger ones.
class DropReporter final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  // The pool outlives its thread, which alone calls this.
  DropReporter(spdlog::sink_ptr next, spdlog::details::thread_pool& from) : next_(std::move(next)), from_(from) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& msg) override {
    if (const std::size_t dropped = from_.overrun_counter(); dropped != told_) {
      const std::string line =
          fmt::format("{} log line{} dropped", dropped - told_, dropped - told_ == 1 ? " was" : "s were");
      told_ = dropped;
      next_->log(spdlog::details::log_msg(msg.logger_name, spdlog::level::warn, line));
    }
    next_->log(msg);
  }
  void flush_() override { next_->flush(); }

 private:
  spdlog::sink_ptr next_;
  spdlog::details::thread_pool& from_;
  std::size_t told_ = 0;
};

// JOURNAL_STREAM is "DEVICE:INODE" of the stream that systemd reads; a child that redirected its stderr does not match.
bool journal_reads_stderr() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat status{};
  if (stream == nullptr || ::fstat(STDERR_FILENO, &status) != 0) return false;
  return fmt::format("{}:{}", status.st_dev, status.st_ino) == stream;
}

std::shared_ptr<spdlog::details::thread_pool> pool;
std::shared_ptr<spdlog::logger> logger;

}  // namespace

void start(std::string_view profile, Level least) {
  spdlog::sink_ptr sink;
  if (journal_reads_stderr()) {
    sink = std::make_shared<JournalSink>(profile);
  } else {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    sink->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  }
  pool = std::make_shared<spdlog::details::thread_pool>(256, 1);
  logger = std::make_shared<spdlog::async_logger>("talaria", std::make_shared<DropReporter>(std::move(sink), *pool),
                                                  pool, spdlog::async_overflow_policy::overrun_oldest);
  switch (least) {
    case Level::debug: logger->set_level(spdlog::level::debug); break;
    case Level::info: logger->set_level(spdlog::level::info); break;
    case Level::warning: logger->set_level(spdlog::level::warn); break;
    case Level::error: logger->set_level(spdlog::level::err); break;
  }
}

void stop() {
  logger.reset();
  pool.reset();  // joins after the queue is empty
}

void write(Level level, std::string_view line) {
  if (!logger) return;
  switch (level) {
    case Level::debug: logger->debug("{}", line); break;
    case Level::info: logger->info("{}", line); break;
    case Level::warning: logger->warn("{}", line); break;
    case Level::error: logger->error("{}", line); break;
  }
}

}  // namespace talaria::log
