#pragma once
// Runs several coroutines side by side until the first ends, cancels the others and waits for them: when race() returns
// or unwinds, none is left, so they may use the caller's locals. Cancelling the caller cancels them all.

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/system/system_error.hpp>
#include <exception>
#include <tuple>

#include "runtime/task.h"

namespace talaria {

// Exceptions other than cancellation are bugs and go on to the caller.
template <class... Tasks>
Task<> race(Tasks... tasks) {
  const auto executor = co_await asio::this_coro::executor;
  auto group = asio::experimental::make_parallel_group(asio::co_spawn(executor, std::move(tasks), asio::deferred)...);
  const auto result = co_await group.async_wait(asio::experimental::wait_for_one(), use_task);
  const auto check = [](const std::exception_ptr& failure) {
    if (!failure) return;
    try {
      std::rethrow_exception(failure);
    } catch (const boost::system::system_error& e) {
      if (e.code() != asio::error::operation_aborted) throw;
    }
  };
  std::apply([&](const auto& /*order*/, const auto&... failures) { (check(failures), ...); }, result);
}

}  // namespace talaria
