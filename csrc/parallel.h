// One pool of threads for every operation. Tasks are a fixed partition of the work, made by the
// caller without regard to the number of threads, so results cannot depend on it.
#pragma once

#include <cstdint>
#include <type_traits>

namespace t2 {

// Calls body(context, task) once for each task in [0, num_tasks), on at most num_threads threads,
// and returns when all are done. An exception from a task is rethrown here, once.
void run_tasks(int num_threads, int64_t num_tasks, void (*body)(void*, int64_t), void* context);

template <typename Body>
void parallel_for(int num_threads, int64_t num_tasks, Body&& body) {
  using Plain = std::remove_reference_t<Body>;
  auto call = [](void* context, int64_t task) { (*static_cast<Plain*>(context))(task); };
  run_tasks(num_threads, num_tasks, call, const_cast<std::remove_const_t<Plain>*>(&body));
}

}  // namespace t2
