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

// Consecutive tasks that one thread does from the first on, and others take from the last, so that
// a thread's next task is mostly the one beside it, and the same from one region to the next: what
// a task fetched ahead is of use, and caches stay warm.
class alignas(64) Share {
 public:
  void assign(int64_t first, int64_t end) { bounds_.store(pack(first, end)); }

  // A task, or -1 when none is left.
  int64_t take_first() {
    return take([](int64_t& first, int64_t&) { return first++; });
  }
  int64_t take_last() {
    return take([](int64_t&, int64_t& end) { return --end; });
  }

 private:
  static uint64_t pack(int64_t first, int64_t end) {
    return static_cast<uint64_t>(first) << 32 | static_cast<uint64_t>(end);
  }
  template <typename Choose>
  int64_t take(Choose choose) {
    uint64_t seen = bounds_.load(std::memory_order_relaxed);
    while (true) {
      auto first = static_cast<int64_t>(seen >> 32), end = static_cast<int64_t>(seen & 0xffffffff);
      if (first >= end) return -1;
      const int64_t task = choose(first, end);
      if (bounds_.compare_exchange_weak(seen, pack(first, end))) return task;
    }
  }

  std::atomic<uint64_t> bounds_{0};
};

// One parallel region. Shared with the workers, so that a late one finds a finished region, never
// a freed one.
struct Region {
  Region(int num_threads, int64_t num_tasks, void (*body)(void*, int64_t), void* context)
      : body(body), context(context), num_tasks(num_tasks), shares(num_threads) {
    for (int i = 0; i < num_threads; ++i) {
      shares[i].assign(i * num_tasks / num_threads, (i + 1) * num_tasks / num_threads);
    }
  }

  void (*const body)(void*, int64_t);
  void* const context;
  const int64_t num_tasks;
  std::vector<Share> shares;  // one for each thread
  std::atomic<int64_t> done{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error;  // written by the one task that set failed

  // As thread `own`: its share, then what is left of the others'.
  void work(size_t own) {
    for (int64_t task; (task = shares[own].take_first()) >= 0;) run(task);
    for (size_t i = 1; i < shares.size(); ++i) {
      Share& other = shares[(own + i) % shares.size()];
      for (int64_t task; (task = other.take_last()) >= 0;) run(task);
    }
  }

  void run(int64_t task) {
    try {
      if (!failed.load(std::memory_order_relaxed)) body(context, task);
    } catch (...) {
      if (!failed.exchange(true)) error = std::current_exception();
    }
    done.fetch_add(1, std::memory_order_release);
  }

  bool finished() const { return done.load(std::memory_order_acquire) == num_tasks; }
};

// The caller works too, on its own region until no task is left, so a region never waits for a
// worker to come: regions may be nested, and several callers may share the workers.
class Pool {
 public:
  void run(int num_threads, int64_t num_tasks, void (*body)(void*, int64_t), void* context) {
    const auto region = std::make_shared<Region>(num_threads, num_tasks, body, context);
    {
      std::lock_guard lock(mutex_);
      while (num_workers_ < num_threads - 1) {
        const size_t number = ++num_workers_;  // the caller is 0
        std::thread([this, number, seen = generation_.load()] { serve(number, seen); }).detach();
      }
      region_ = region;
      generation_.fetch_add(1);
    }
    wake_.notify_all();
    region->work(0);
    for (int round = 0; !region->finished(); ++round) {
      if (round > 1000) std::this_thread::yield();
    }
    if (region->error) std::rethrow_exception(region->error);
  }

 private:
  void serve(size_t number, uint64_t seen) {
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
      if (number < region->shares.size()) region->work(number);
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
