#pragma once
// The end of an incarnation: asked for once. The first cause is kept; whoever asks later only shortens the drain. But
// an end takes the place of a change of programs.

#include <optional>
#include <string>

#include "lifecycle/verdict.h"
#include "runtime/event.h"

namespace talaria {

struct End {
  Verdict verdict;
  std::string evidence;        // JSON object
  bool execute_again = false;  // no manager brings us back: become a fresh process ourselves
};

class EndRequest {
 public:
  explicit EndRequest(asio::any_io_executor executor) : asked_(executor), again_(executor) {}

  void ask(End end) {
    if (end_) {
      // Who goes on as another program can be stopped like any other: whoever asks for that would else find it running.
      if (changeable() && !end.execute_again) end_ = std::move(end);
      again_.set();
      return;
    }
    end_ = std::move(end);
    asked_.set();
  }
  [[nodiscard]] bool asked() const { return end_.has_value(); }
  [[nodiscard]] const End& end() const { return *end_; }
  // A change of programs: an end that is asked for takes its place.
  [[nodiscard]] bool changeable() const { return end_ && end_->execute_again; }
  // The same end, but the service is wanted up again by now: the exit code has to say so.
  void start_again() { end_->verdict.exit_code = ExitCode::again; }
  // Set by the first request.
  [[nodiscard]] Event& event() { return asked_; }
  // Set by any further one: cut the drain short.
  [[nodiscard]] Event& impatient() { return again_; }

 private:
  std::optional<End> end_;
  Event asked_;
  Event again_;
};

}  // namespace talaria
