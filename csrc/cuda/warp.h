// Sums and the like over the lanes of a whole warp, in one fixed order.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace t2 {

constexpr int kWarpLanes = 32;
constexpr unsigned kAllLanes = 0xffffffff;

template <typename T>
__device__ T sum_of_warp(T x) {
#pragma unroll
  for (int step = kWarpLanes / 2; step > 0; step /= 2) x += __shfl_xor_sync(kAllLanes, x, step);
  return x;
}

__device__ inline float max_of_warp(float x) {
#pragma unroll
  for (int step = kWarpLanes / 2; step > 0; step /= 2) {
    x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, step));
  }
  return x;
}

// The sum of this lane and those before it.
template <typename T>
__device__ T sum_through_lane(T x, int lane) {
#pragma unroll
  for (int step = 1; step < kWarpLanes; step *= 2) {
    const T before = __shfl_up_sync(kAllLanes, x, step);
    if (lane >= step) x += before;
  }
  return x;
}

// What the lane before has; 0 for the first.
template <typename T>
__device__ T of_lane_before(T x, int lane) {
  const T before = __shfl_up_sync(kAllLanes, x, 1);
  return lane == 0 ? T(0) : before;
}

// Of a ballot, in which there is one.
__device__ inline int first_lane(unsigned ballot) { return __ffs(int(ballot)) - 1; }
__device__ inline int last_lane(unsigned ballot) { return kWarpLanes - 1 - __clz(int(ballot)); }

// A block's dynamic shared memory.
__device__ inline void* shared_memory() {
  extern __shared__ float4 shared[];
  return shared;
}

}  // namespace t2
