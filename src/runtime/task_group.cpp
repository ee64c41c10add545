#include "runtime/task_group.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/system/system_error.hpp>

namespace talaria {

TaskGroup::TaskGroup(asio::any_io_executor executor, OnBug on_bug)
    : executor_(std::move(executor)), state_(std::make_shared<State>(executor_)) {
  state_->on_bug = std::move(on_bug);
}

TaskGroup::~TaskGroup() { cancel(); }

void TaskGroup::Handle::cancel() const {
  if (auto signal = signal_.lock()) signal->emit(asio::cancellation_type::all);
}

TaskGroup::Handle TaskGroup::spawn(std::string name, Task<> task) {
  auto signal = std::make_shared<asio::cancellation_signal>();
  state_->live.push_back(signal);
  state_->empty.reset();
  Handle handle;
  handle.signal_ = signal;
  auto done = [state = state_, position = std::prev(state_->live.end()),
               name = std::move(name)](const std::exception_ptr& failure) {
    state->live.erase(position);
    if (state->live.empty()) state->empty.set();
    if (!failure) return;
    try {
      std::rethrow_exception(failure);
    } catch (const boost::system::system_error& e) {
      if (e.code() != asio::error::operation_aborted && state->on_bug) state->on_bug(name, e.what());
    } catch (const std::exception& e) {
      if (state->on_bug) state->on_bug(name, e.what());
    }
  };
  asio::co_spawn(executor_, std::move(task), asio::bind_cancellation_slot(signal->slot(), std::move(done)));
  return handle;
}

void TaskGroup::cancel() {
  // Cancelling runs handlers' code only later, through the loop; still, copy: a signal's owner may go meanwhile.
  const auto live = state_->live;
  for (const auto& signal : live) signal->emit(asio::cancellation_type::all);
}

Task<bool> TaskGroup::join(Deadline deadline) { co_return co_await state_->empty.wait(deadline); }

}  // namespace talaria
