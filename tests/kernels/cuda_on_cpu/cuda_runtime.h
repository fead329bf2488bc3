// Just enough of CUDA to run csrc/cuda on a CPU: the threads of a block are fibers that take turns,
// switching only where a barrier makes them wait. A barrier that not all of them reach, a write
// past the shared memory asked for, a misaligned copy, and one that outlives its block are errors.
// Memory nobody wrote is nan.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __shared__
#define __grid_constant__
#define __launch_bounds__(...)

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3() = default;
  dim3(int64_t x, int64_t y = 1, int64_t z = 1) : x(unsigned(x)), y(unsigned(y)), z(unsigned(z)) {}
};

using cudaStream_t = void*;
enum cudaError_t { cudaSuccess };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };

using std::max;
using std::min;

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_on_cpu {

constexpr size_t kSharedFloat4 = 1 << 14;  // 256 KB, more than any device has
constexpr size_t kStackBytes = 1 << 16;
constexpr unsigned kWarpSize = 32;

enum class Wait { kNothing, kWarp, kWarpgroup, kBlock, kCondition, kEnd };

// How the device behaves where CUDA leaves it open.
struct Settings {
  int processors = 4;
  bool copies_land_early = false;  // at once, otherwise not before they are waited for
  std::mt19937 order{0};           // in which threads take turns
};
inline Settings settings;

struct Copy {
  char* to;
  const char* from;
  size_t bytes, zeros;

  void run() const {
    std::copy_n(from, bytes - zeros, to);
    std::fill_n(to + bytes - zeros, zeros, char(0));
  }
};

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
  dim3 index;
  unsigned number = 0;
  Wait wait = Wait::kNothing;
  std::function<bool()> condition;
  bool pausing = false;
  bool unfenced = false;  // has written what products read since its last fence
  std::vector<Copy> open;
  std::vector<std::vector<Copy>> committed;
};

inline ucontext_t scheduler;
inline std::vector<Fiber> fibers;
inline Fiber* running = nullptr;
inline std::function<void()> body;
inline std::exception_ptr thrown;

inline void wait_for(Wait wait) {
  running->wait = wait;
  swapcontext(&running->context, &scheduler);
}

inline void wait_until(const std::function<bool()>& condition) {
  running->condition = condition;
  wait_for(Wait::kCondition);
}

// Lets the others take this many turns.
inline uint64_t turn = 0;
inline void pause(unsigned turns) {
  Fiber& fiber = *running;
  fiber.pausing = true;
  wait_until([until = turn + turns] { return turn >= until; });
  fiber.pausing = false;
}

// A copy that no thread waits for by itself. It lands at a turn, or when nothing else can go on.
struct Flight {
  uint64_t turn;
  std::function<void()> land;
};
inline std::vector<Flight> flights;

inline void land(size_t i) {
  const auto land = flights[i].land;
  flights.erase(flights.begin() + i);
  land();
}

inline bool land_those_due() {
  bool any = false;
  for (size_t i = flights.size(); i-- > 0;) {
    if (flights[i].turn > turn) continue;
    land(i);
    any = true;
  }
  return any;
}

inline void enter() {
  try {
    body();
  } catch (...) {
    thrown = std::current_exception();
  }
  wait_for(Wait::kEnd);
}

inline void resume(Fiber& fiber) {
  fiber.wait = Wait::kNothing;
  running = &fiber;
  threadIdx = fiber.index;
  swapcontext(&scheduler, &fiber.context);
}

// Lets go of fibers [first, last) if all that have not ended wait for `wait`.
inline bool release(size_t first, size_t last, Wait wait) {
  bool any = false;
  for (size_t i = first; i < last; ++i) {
    if (fibers[i].wait == Wait::kEnd) continue;
    if (fibers[i].wait != wait) return false;
    any = true;
  }
  for (size_t i = first; any && i < last; ++i) {
    if (fibers[i].wait == wait) fibers[i].wait = Wait::kNothing;
  }
  return any;
}

inline bool release_by_condition() {
  bool any = false;
  for (Fiber& fiber : fibers) {
    if (fiber.wait != Wait::kCondition || !fiber.condition()) continue;
    fiber.wait = Wait::kNothing;
    any = true;
  }
  return any;
}

inline void run_block() {
  const unsigned count = blockDim.x * blockDim.y * blockDim.z;
  fibers.resize(count);
  flights.clear();
  thrown = nullptr;
  std::vector<unsigned> turns;
  for (unsigned i = 0; i < count; ++i) {
    Fiber& fiber = fibers[i];
    fiber.index = dim3(i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y);
    fiber.number = i;
    fiber.wait = Wait::kNothing;
    fiber.open.clear();
    fiber.committed.clear();
    fiber.unfenced = fiber.pausing = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    makecontext(&fiber.context, enter, 0);
    turns.push_back(i);
  }
  for (;;) {
    std::shuffle(turns.begin(), turns.end(), settings.order);
    for (unsigned i : turns) {
      if (fibers[i].wait == Wait::kNothing) resume(fibers[i]);
    }
    bool released = release(0, count, Wait::kBlock);
    for (unsigned i = 0; i < count; i += kWarpSize) {
      released |= release(i, min(i + kWarpSize, count), Wait::kWarp);
    }
    for (unsigned i = 0; i < count; i += 4 * kWarpSize) {
      released |= release(i, min(i + 4 * kWarpSize, count), Wait::kWarpgroup);
    }
    if (thrown) std::rethrow_exception(thrown);
    ++turn;
    released |= land_those_due();
    released |= release_by_condition();
    for (const Fiber& fiber : fibers) released |= fiber.pausing;
    if (released) continue;
    const bool ended = std::all_of(fibers.begin(), fibers.end(),
                                   [](const Fiber& fiber) { return fiber.wait == Wait::kEnd; });
    if (ended && flights.empty()) return;
    if (ended) throw std::runtime_error("a copy outlives its block");
    if (flights.empty()) throw std::runtime_error("threads wait at different barriers");
    land(settings.order() % flights.size());
  }
}

}  // namespace cuda_on_cpu

namespace t2 {
alignas(16) inline float4 shared[cuda_on_cpu::kSharedFloat4];  // `extern __shared__` of kernels
}

namespace cuda_on_cpu {

// kernel<<<grid, block, shared_bytes, stream>>>(args...) is launch(kernel, grid, ...)(args...).
template <typename... Params>
auto launch(void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t) {
  return [=](auto... args) {
    gridDim = grid;
    blockDim = block;
    body = [=] { kernel(args...); };
    float* const memory = reinterpret_cast<float*>(t2::shared);
    for (unsigned z = 0; z < grid.z; ++z) {
      for (unsigned y = 0; y < grid.y; ++y) {
        for (unsigned x = 0; x < grid.x; ++x) {
          blockIdx = dim3(x, y, z);
          std::fill_n(memory, 4 * kSharedFloat4, NAN);
          run_block();
          for (size_t i = (shared_bytes + 3) / 4; i < 4 * kSharedFloat4; ++i) {
            if (!std::isnan(memory[i])) throw std::runtime_error("write past shared memory");
          }
        }
      }
    }
  };
}

}  // namespace cuda_on_cpu

inline void __syncthreads() { cuda_on_cpu::wait_for(cuda_on_cpu::Wait::kBlock); }
inline void __syncwarp() { cuda_on_cpu::wait_for(cuda_on_cpu::Wait::kWarp); }

inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t) { return "no error"; }

inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = cuda_on_cpu::settings.processors;
  return cudaSuccess;
}

template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel, cudaFuncAttribute, int) {
  return cudaSuccess;
}

inline cudaError_t cudaMallocAsync(void** data, size_t bytes, cudaStream_t) {
  *data = std::aligned_alloc(256, (bytes + 256) / 256 * 256);
  std::fill_n(static_cast<float*>(*data), bytes / sizeof(float), NAN);
  return cudaSuccess;
}

inline cudaError_t cudaFreeAsync(void* data, cudaStream_t) {
  std::free(data);
  return cudaSuccess;
}

#include "intrinsics.h"
