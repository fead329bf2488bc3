// Asynchronous copies of the running fiber: they land when waited for, or at once.
#pragma once

#include "cuda_runtime.h"

inline void __pipeline_memcpy_async(void* to, const void* from, size_t bytes, size_t zeros = 0) {
  const auto misaligned = [&](const void* at) { return reinterpret_cast<uintptr_t>(at) % bytes; };
  if (misaligned(to) || misaligned(from)) throw std::runtime_error("misaligned copy");
  const cuda_on_cpu::Copy copy{static_cast<char*>(to), static_cast<const char*>(from), bytes,
                               zeros};
  if (cuda_on_cpu::settings.copies_land_early) {
    copy.run();
  } else {
    cuda_on_cpu::running->open.push_back(copy);
  }
}

inline void __pipeline_commit() {
  cuda_on_cpu::Fiber& fiber = *cuda_on_cpu::running;
  fiber.committed.push_back(std::move(fiber.open));
  fiber.open.clear();
}

// Waits for all but the last `prior` commits.
inline void __pipeline_wait_prior(size_t prior) {
  auto& committed = cuda_on_cpu::running->committed;
  if (!cuda_on_cpu::settings.copies_land_early && committed.size() > prior) {
    cuda_on_cpu::pause(cuda_on_cpu::settings.order() % 128);  // nobody may count on its being quick
  }
  while (committed.size() > prior) {
    for (const cuda_on_cpu::Copy& copy : committed.front()) copy.run();
    committed.erase(committed.begin());
  }
}
