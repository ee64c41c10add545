#pragma once
// A child process that one talks with for as long as both live, line by line (run_child() is for those that are given
// all at once). Like there: its own process group, pipes on its standard streams, and the whole group ends with the
// handle, with nobody left behind. A process that is still there when the handle is destroyed is killed.

#include <memory>
#include <string>
#include <string_view>

#include <boost/asio/any_io_executor.hpp>

#include "base/result.h"
#include "process/child.h"
#include "process/group_leader.h"
#include "runtime/deadline.h"
#include "runtime/task.h"

namespace talaria {

class LiveChild {
 public:
  // Errors as with spawn_group() (process/spawn.h).
  static Result<std::unique_ptr<LiveChild>> start(asio::any_io_executor executor, const ChildSpec& spec);
  LiveChild(const LiveChild&) = delete;
  LiveChild& operator=(const LiveChild&) = delete;
  ~LiveChild();

  enum class Stream { out, err };
  // Appends at least one byte to `buffer`, at most 16 KiB; 0: the child has closed this stream. One reader for each.
  Task<std::size_t> read_some(Stream stream, std::string& buffer);
  // Bytes that it has written to this stream and nobody has read.
  [[nodiscard]] std::size_t unread(Stream stream) const;
  // One writer at a time. `timeout`: not all of it was taken; `unavailable`: the child reads no more. SIGPIPE is not
  // raised.
  Task<Result<>> write_all(std::string_view data, Deadline deadline);
  // What the pipe takes at once of it; the rest is dropped.
  void write_now(std::string_view data);
  void close_input();

  // True: it has ended (and is a zombie until end()).
  Task<bool> exited(Deadline deadline);
  // Waits for `patience` whether it ends by itself, then TERM, after `grace` KILL; reaps it. Must not be cancelled: the
  // caller switches cancellation off.
  Task<ChildEnd> end(Millis patience, Millis grace);
  [[nodiscard]] int pid() const;

 private:
  struct Impl;
  explicit LiveChild(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace talaria
