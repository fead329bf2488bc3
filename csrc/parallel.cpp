#include "parallel.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace t2 {
namespace {

// Regions follow each other within microseconds during decoding: a worker that keeps looking for
// this long before it sleeps saves the wake-up, which takes longer than many a region.
constexpr std::chrono::microseconds kAwake{200};
constexpr int kLooks = 200;  // between two offers of the processor to others

// One parallel region. Shared with the workers, so that a late one finds a finished region, never
// a freed one.
struct Region {
  Region(int max_workers, int64_t num_tasks, void (*body)(void*, int64_t), void* context)
      : body(body), context(context), num_tasks(num_tasks), max_workers(max_workers) {}

  void (*const body)(void*, int64_t);
  void* const context;
  const int64_t num_tasks;
  const int max_workers;
  std::atomic<int> workers{0};
  std::atomic<int64_t> next{0};
  std::atomic<int64_t> done{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error;  // written by the one task that set failed

  void work() {
    for (int64_t task; (task = next.fetch_add(1)) < num_tasks;) {
      try {
        if (!failed.load(std::memory_order_relaxed)) body(context, task);
      } catch (...) {
        if (!failed.exchange(true)) error = std::current_exception();
      }
      done.fetch_add(1, std::memory_order_release);
    }
  }

  bool finished() const { return done.load(std::memory_order_acquire) == num_tasks; }
};

// The caller works too, on its own region until no task is left, so a region never waits for a
// worker to come: regions may be nested, and several callers may share the workers.
class Pool {
 public:
  void run(int num_threads, int64_t num_tasks, void (*body)(void*, int64_t), void* context) {
    const auto region = std::make_shared<Region>(num_threads - 1, num_tasks, body, context);
    {
      std::lock_guard lock(mutex_);
      for (; num_workers_ < num_threads - 1; ++num_workers_) {
        std::thread([this, seen = generation_.load()] { serve(seen); }).detach();
      }
      region_ = region;
      generation_.fetch_add(1);
    }
    wake_.notify_all();
    region->work();
    for (int round = 0; !region->finished(); ++round) {
      if (round > 1000) std::this_thread::yield();
    }
    if (region->error) std::rethrow_exception(region->error);
  }

 private:
  void serve(uint64_t seen) {
    while (true) {
      const auto bedtime = std::chrono::steady_clock::now() + kAwake;
      while (!is_new_region(seen) && std::chrono::steady_clock::now() < bedtime) {
        std::this_thread::yield();
      }
      std::shared_ptr<Region> region;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return generation_.load() != seen; });
        seen = generation_.load();
        region = region_;
      }
      if (region->workers.fetch_add(1) < region->max_workers) region->work();
    }
  }

  // Looks a while without giving up the processor.
  bool is_new_region(uint64_t seen) const {
    for (int look = 0; look < kLooks; ++look) {
      if (generation_.load(std::memory_order_relaxed) != seen) return true;
    }
    return false;
  }

  std::mutex mutex_;  // guards num_workers_ and region_
  std::condition_variable wake_;
  int num_workers_ = 0;
  std::shared_ptr<Region> region_;
  std::atomic<uint64_t> generation_{0};  // of region_
};

// One pool a process, never destroyed: its threads serve until the process ends. A forked child
// has none of its parent's threads, and makes its own pool.
Pool& pool() {
  struct Owned {
    Pool pool;
    pid_t owner = getpid();
  };
  static std::atomic<Owned*> current{nullptr};
  Owned* seen = current.load();
  while (seen == nullptr || seen->owner != getpid()) {
    auto fresh = std::make_unique<Owned>();
    if (current.compare_exchange_strong(seen, fresh.get())) return fresh.release()->pool;
  }
  return seen->pool;
}

}  // namespace

void run_tasks(int num_threads, int64_t num_tasks, void (*body)(void*, int64_t), void* context) {
  // More threads than processors would only wait for each other. (0: not known.)
  static const int processors = static_cast<int>(std::thread::hardware_concurrency());
  if (processors > 0) num_threads = std::min(num_threads, processors);
  if (num_threads <= 1 || num_tasks <= 1) {
    for (int64_t task = 0; task < num_tasks; ++task) body(context, task);
    return;
  }
  pool().run(num_threads, num_tasks, body, context);
}

}  // namespace t2
