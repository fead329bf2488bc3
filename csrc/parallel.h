// One pool of threads for every operation. Tasks are a fixed partition of the work, made by the
// caller without regard to the number of threads, so results cannot depend on it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace t2 {

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Calls body(context, task) once for each task in [0, num_tasks), on at most num_threads threads,
// and returns when all are done. num_tasks is below 2^32; a thread's tasks are mostly consecutive.
// An exception from a task is rethrown here, once.
void run_tasks(int num_threads, int64_t num_tasks, void (*body)(void*, int64_t), void* context);

template <typename Body>
void parallel_for(int num_threads, int64_t num_tasks, Body&& body) {
  using Plain = std::remove_reference_t<Body>;
  auto call = [](void* context, int64_t task) { (*static_cast<Plain*>(context))(task); };
  run_tasks(num_threads, num_tasks, call, const_cast<std::remove_const_t<Plain>*>(&body));
}

// A thread that gets less work than this costs more to wake than it saves.
constexpr int64_t kFlopsWorthAThread = 100'000;

inline int threads_for(int64_t flops, int num_threads) {
  return static_cast<int>(std::clamp<int64_t>(flops / kFlopsWorthAThread, 1, num_threads));
}

// Calls body(row) for each row in [0, rows), in tasks of about the same work.
template <typename Body>
void parallel_rows(int num_threads, int64_t rows, int64_t flops_per_row, Body&& body) {
  const int64_t rows_per_task =
      std::max<int64_t>(1, kFlopsWorthAThread / 2 / std::max<int64_t>(1, flops_per_row));
  const int64_t num_tasks = ceil_div(rows, rows_per_task);
  parallel_for(threads_for(rows * flops_per_row, num_threads), num_tasks, [&](int64_t task) {
    const int64_t stop = std::min(rows, (task + 1) * rows_per_task);
    for (int64_t row = task * rows_per_task; row < stop; ++row) body(row);
  });
}

}  // namespace t2
