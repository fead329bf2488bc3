// What a thread says to its warp, and the arithmetic that CUDA has names for.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "cuda_runtime.h"

struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

namespace cuda_on_cpu {

constexpr int kMaxThreads = 1024;
inline uint64_t said[kMaxThreads];  // by each thread of the block to its warp

template <typename To, typename From>
To bits_as(const From& from) {
  To to{};
  std::memcpy(&to, &from, sizeof(from) < sizeof(to) ? sizeof(from) : sizeof(to));
  return to;
}

// Every lane says x; what listen(the warp's first thread) makes of it.
template <typename T, typename Listen>
auto exchange(unsigned lanes, T x, Listen listen) {
  if (lanes != ~0u) throw std::runtime_error("only whole warps exchange here");
  said[running->number] = bits_as<uint64_t>(x);
  wait_for(Wait::kWarp);
  const auto heard = listen(said + running->number / kWarpSize * kWarpSize);
  wait_for(Wait::kWarp);
  return heard;
}

inline unsigned lane() { return running->number % kWarpSize; }

}  // namespace cuda_on_cpu

template <typename T>
T __shfl_sync(unsigned lanes, T x, int from) {
  return cuda_on_cpu::exchange(lanes, x, [&](const uint64_t* warp) {
    return cuda_on_cpu::bits_as<T>(warp[from % cuda_on_cpu::kWarpSize]);
  });
}

template <typename T>
T __shfl_xor_sync(unsigned lanes, T x, int step) {
  return __shfl_sync(lanes, x, int(cuda_on_cpu::lane()) ^ step);
}

template <typename T>
T __shfl_up_sync(unsigned lanes, T x, unsigned step) {
  const unsigned lane = cuda_on_cpu::lane();
  return __shfl_sync(lanes, x, int(lane < step ? lane : lane - step));
}

inline unsigned __ballot_sync(unsigned lanes, bool x) {
  return cuda_on_cpu::exchange(lanes, x, [](const uint64_t* warp) {
    unsigned ballot = 0;
    for (unsigned i = 0; i < cuda_on_cpu::kWarpSize; ++i) ballot |= unsigned(warp[i] != 0) << i;
    return ballot;
  });
}

template <typename T>
T atomicAdd(T* at, T x) {
  const T before = *at;
  *at += x;
  return before;
}

template <typename T>
void __stwb(T* at, T x) {
  *at = x;
}

inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(unsigned(x)); }
inline unsigned __float_as_uint(float x) { return cuda_on_cpu::bits_as<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return cuda_on_cpu::bits_as<float>(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline unsigned long long __double2ull_rn(double x) {
  return x >= 0 && x < 0x1p64 ? static_cast<unsigned long long>(std::nearbyint(x)) : 1ull << 63;
}
