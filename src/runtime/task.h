#pragma once
// Coroutine vocabulary: Task<T> is a lazily started coroutine on the event loop, `use_task` makes any Asio operation
// return (error_code, …) instead of throwing.
//
// Cancellation unwinds: a cancelled coroutine gets operation_aborted from the operation it waits in and a
// boost::system::system_error(operation_aborted) from its next co_await. Let it pass; TaskGroup swallows it. Never
// catch it to go on.

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace talaria {

namespace asio = boost::asio;
using boost::system::error_code;

template <class T = void>
using Task = asio::awaitable<T>;

inline constexpr auto use_task = asio::as_tuple(asio::use_awaitable);

}  // namespace talaria
