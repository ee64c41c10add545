#include "store/store.h"

#include <fmt/format.h>
#include <pthread.h>

#include <boost/asio/post.hpp>

#include "base/alternate_stack.h"
#include "store/schema.h"

namespace talaria {

Store::Store(asio::any_io_executor executor, std::size_t max_jobs)
    : executor_(std::move(executor)), max_jobs_(max_jobs), thread_([this] { serve(); }) {
  pthread_setname_np(thread_.native_handle(), "store");
  (void)pthread_getcpuclockid(thread_.native_handle(), &thread_clock_);
}

Store::~Store() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

Task<Result<>> Store::open(std::string path) {
  return hand_over<Result<>>(
      [this, path = std::move(path)](Database*) -> Result<> {
        db_.reset();
        auto db = Database::open(path);
        if (!db) return std::unexpected(db.error());
        if (auto ok = migrate(**db); !ok) return ok;
        db_ = std::move(*db);
        return {};
      },
      false);
}

void Store::enqueue(Pending pending) {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() < max_jobs_) {
      waiting_.push_back(std::move(pending));
      waiting_count_.store(waiting_.size(), std::memory_order_relaxed);
      if (waiting_.size() == 1) wake_.notify_one();
      return;
    }
  }
  const Error full{ErrorKind::limit, fmt::format("the store has {} jobs waiting already", max_jobs_)};
  pending.settle(full);
  std::vector<Pending> refused;
  refused.push_back(std::move(pending));
  hand_back(std::move(refused));
}

void Store::serve() {
  const AlternateStack signal_stack;
  for (;;) {
    std::vector<Pending> batch;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      batch.swap(waiting_);
      waiting_count_.store(0, std::memory_order_relaxed);
    }
    busy_.store(true, std::memory_order_relaxed);
    steps_.fetch_add(1, std::memory_order_relaxed);
    run_batch(batch);
    busy_.store(false, std::memory_order_relaxed);
    steps_.fetch_add(1, std::memory_order_relaxed);
    hand_back(std::move(batch));
  }
}

void Store::run_batch(std::vector<Pending>& batch) {
  if (auto done = perform_writes(batch); !done) {
    if (db_ && db_->in_transaction()) (void)db_->exec("ROLLBACK");
    for (auto& pending : batch) {
      if (pending.writes) pending.settle(done.error());
    }
  }
  for (auto& pending : batch) {
    if (pending.writes) continue;
    steps_.fetch_add(1, std::memory_order_relaxed);
    (void)pending.perform(db_.get());
  }
}

Result<> Store::perform_writes(std::vector<Pending>& batch) {
  bool begun = false;
  for (auto& pending : batch) {
    if (!pending.writes) continue;
    steps_.fetch_add(1, std::memory_order_relaxed);
    if (!db_) {
      (void)pending.perform(db_.get());
      continue;
    }
    if (!begun) {
      if (auto ok = db_->exec("BEGIN IMMEDIATE"); !ok) return ok;
      begun = true;
    }
    if (auto ok = db_->exec("SAVEPOINT job"); !ok) return ok;
    if (!pending.perform(db_.get())) {
      // A full disk may have ended the whole transaction already; then the batch has failed as one.
      if (!db_->in_transaction())
        return fail(ErrorKind::unavailable, "the store could not write (disk full or I/O error)");
      if (auto ok = db_->exec("ROLLBACK TO job"); !ok) return ok;
    }
    if (auto ok = db_->exec("RELEASE job"); !ok) return ok;
  }
  if (!begun) return {};
  if (auto ok = db_->exec("COMMIT"); !ok) return ok;
  commits_.fetch_add(1, std::memory_order_relaxed);
  return {};
}

Store::Progress Store::progress() const {
  timespec used{};
  (void)::clock_gettime(thread_clock_, &used);
  return {.steps = steps_.load(std::memory_order_relaxed),
          .busy = busy_.load(std::memory_order_relaxed),
          .waiting = waiting_count_.load(std::memory_order_relaxed),
          .cpu = std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec)};
}

void Store::hand_back(std::vector<Pending> batch) {
  asio::post(executor_, [batch = std::move(batch)]() mutable {
    for (const bool writes : {true, false}) {
      for (auto& pending : batch) {
        if (pending.writes == writes) pending.resume();
      }
    }
  });
}

}  // namespace talaria
