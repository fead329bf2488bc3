#include "parallel.h"

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace t2 {
namespace {

// Regions follow each other within microseconds during decoding: a worker that looks again for
// this many rounds before sleeping saves the wake-up, and costs an idle machine next to nothing.
constexpr int kSpinRounds = 4000;

// One parallel region. Shared with the workers, so that a late one finds a finished region, never
// a freed one.
struct Region {
  void (*body)(void*, int64_t) = nullptr;
  void* context = nullptr;
  int64_t num_tasks = 0;
  int max_workers = 0;
  std::atomic<int> workers{0};
  std::atomic<int64_t> next{0};
  std::atomic<int64_t> done{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error;

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
};

class Pool {
 public:
  ~Pool() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
      generation_.fetch_add(1);
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void run(int num_threads, int64_t num_tasks, void (*body)(void*, int64_t), void* context) {
    auto region = std::make_shared<Region>();
    region->body = body;
    region->context = context;
    region->num_tasks = num_tasks;
    region->max_workers = num_threads - 1;
    {
      std::lock_guard lock(mutex_);
      while (static_cast<int>(threads_.size()) < num_threads - 1) {
        threads_.emplace_back([this, seen = generation_.load()] { serve(seen); });
      }
      region_ = region;
      generation_.fetch_add(1);
    }
    wake_.notify_all();
    region->work();
    while (region->done.load(std::memory_order_acquire) < num_tasks) std::this_thread::yield();
    if (region->error) std::rethrow_exception(region->error);
  }

 private:
  void serve(uint64_t seen) {
    while (true) {
      for (int round = 0; round < kSpinRounds && generation_.load() == seen; ++round) {
        if (round % 64 == 63) std::this_thread::yield();
      }
      std::shared_ptr<Region> region;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return generation_.load() != seen; });
        seen = generation_.load();
        if (stopping_) return;
        region = region_;
      }
      if (region->workers.fetch_add(1) < region->max_workers) region->work();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> threads_;
  std::shared_ptr<Region> region_;
  std::atomic<uint64_t> generation_{0};
  bool stopping_ = false;
};

// One pool a process: a forked child has none of its parent's threads and makes its own. Never
// destroyed, because a worker may still be spinning while the process exits.
Pool& pool() {
  static std::mutex mutex;
  static Pool* instance = nullptr;
  static pid_t owner = 0;
  std::lock_guard lock(mutex);
  if (instance == nullptr || owner != getpid()) {
    instance = new Pool;
    owner = getpid();
  }
  return *instance;
}

}  // namespace

void run_tasks(int num_threads, int64_t num_tasks, void (*body)(void*, int64_t), void* context) {
  if (num_threads <= 1 || num_tasks <= 1) {
    for (int64_t task = 0; task < num_tasks; ++task) body(context, task);
    return;
  }
  pool().run(num_threads, num_tasks, body, context);
}

}  // namespace t2
