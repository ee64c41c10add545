#pragma once
// The store: one SQLite database, one thread that owns it, group commit.
//
// The event loop never touches the database. It hands over jobs; the store's thread takes all that wait, runs them in
// one transaction, commits once (one fsync for many messages) and hands all results back together, those of writes
// first. A job sees Database& and returns a Result; a job that fails is rolled back alone, the others commit. When the
// commit itself fails (disk full), every write of the batch hears it and nothing of it is stored. Reads follow the
// commit: what they see is on disk.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <ctime>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>

#include "base/result.h"
#include "runtime/task.h"
#include "store/database.h"

namespace talaria {

class Store {
 public:
  // Starts the thread; `executor` is the event loop's, where results arrive. `max_jobs` waiting jobs at most: more are
  // refused with ErrorKind::limit.
  explicit Store(asio::any_io_executor executor, std::size_t max_jobs = 100'000);
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  // Runs what still waits, closes the database, joins the thread.
  ~Store();

  // Opens (or opens again, after a failure) the database and migrates it.
  Task<Result<>> open(std::string path);

  // Runs `job(Database&) -> Result<T>` in a transaction; returns after the commit is on disk. A job that returns an
  // error changes nothing. The job must not touch anything of the event loop; it owns or outlives all it captures.
  // Cancelling the waiting coroutine does not cancel the job.
  template <class Job>
  auto write(Job job) -> Task<std::invoke_result_t<Job, Database&>> {
    return submit<Job>(std::move(job), true);
  }
  // The same without a transaction, for queries: after the writes that were handed over before.
  template <class Job>
  auto read(Job job) -> Task<std::invoke_result_t<Job, Database&>> {
    return submit<Job>(std::move(job), false);
  }

  // What the store's thread is at, for a watch over it. From any thread; waits for nobody.
  struct Progress {
    std::uint64_t steps = 0;          // grows with every batch that is taken up or ended and with every job
    bool busy = false;                // inside a batch
    std::size_t waiting = 0;          // jobs that were not taken yet
    std::chrono::nanoseconds cpu{0};  // that the thread has used
  };
  [[nodiscard]] Progress progress() const;

  // Commits so far, for tests and metrics.
  [[nodiscard]] std::uint64_t commits() const { return commits_.load(std::memory_order_relaxed); }

 private:
  // `perform` runs on the store's thread; `settle` afterwards on the same thread with the batch's fate when that is an
  // error; `resume` on the event loop.
  struct Pending {
    bool writes = false;
    std::move_only_function<Result<>(Database*)> perform;  // null: the store is not open
    std::move_only_function<void(const Error&)> settle;
    std::move_only_function<void()> resume;
  };

  template <class Job>
  auto submit(Job job, bool writes) -> Task<std::invoke_result_t<Job, Database&>> {
    using R = std::invoke_result_t<Job, Database&>;
    return hand_over<R>(
        [job = std::move(job)](Database* db) mutable -> R {
          if (db == nullptr) return fail(ErrorKind::unavailable, "the store is not open");
          return job(*db);
        },
        writes);
  }

  template <class R, class Job>
  Task<R> hand_over(Job job, bool writes) {
    struct Shared {
      Job job;
      std::optional<R> result;
    };
    auto shared = std::make_shared<Shared>(std::move(job), std::nullopt);
    co_await asio::async_initiate<decltype(asio::use_awaitable), void()>(
        [this, shared, writes](auto handler) {
          Pending pending;
          pending.writes = writes;
          pending.perform = [shared](Database* db) -> Result<> {
            shared->result.emplace(shared->job(db));
            if (!*shared->result) return std::unexpected(shared->result->error());
            return {};
          };
          pending.settle = [shared](const Error& fate) { shared->result.emplace(std::unexpected(fate)); };
          pending.resume = [handler = std::move(handler)]() mutable { std::move(handler)(); };
          enqueue(std::move(pending));
        },
        asio::use_awaitable);
    if (!shared->result) co_return fail(ErrorKind::internal, "the store did not perform the job");
    co_return std::move(*shared->result);
  }

  void enqueue(Pending pending);
  void serve();
  void run_batch(std::vector<Pending>& batch);
  [[nodiscard]] Result<> perform_writes(std::vector<Pending>& batch);
  void hand_back(std::vector<Pending> batch);

  asio::any_io_executor executor_;
  const std::size_t max_jobs_;
  std::atomic<std::uint64_t> commits_{0};
  std::atomic<std::uint64_t> steps_{0};
  std::atomic<bool> busy_{false};
  std::atomic<std::size_t> waiting_count_{0};

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Pending> waiting_;
  bool ending_ = false;

  std::unique_ptr<Database> db_;  // the store's thread only
  std::thread thread_;
  clockid_t thread_clock_{};
};

}  // namespace talaria
