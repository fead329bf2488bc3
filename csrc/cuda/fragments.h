// What the kernels on tensor cores share: sixteen queries of a warp as the instructions' fragments.
//
// With g = lane / 4 and t = lane % 4 * 2, a lane has rows g and g + 8 of the sixteen, and of every
// eight columns columns t and t + 1: elements 0 and 1 of a fragment are row g's, 2 and 3 row g +
// 8's.
#pragma once

#include "attention_problem.h"
#include "ptx.h"

namespace t2 {

constexpr int kWarpRows = 16;  // queries of a warp

__device__ inline int fragment_row() { return threadIdx.x % kWarpSize / 4; }
__device__ inline int fragment_column() { return threadIdx.x % 4 * 2; }

// Columns d and d + 1 of a row in device memory, zeros past head_dim.
template <typename T>
__device__ inline uint32_t read_pair(const T* row, int d, const Problem<T>& p) {
  if (d >= p.head_dim) return 0;
  if (p.aligned) return *reinterpret_cast<const uint32_t*>(row + d);
  return row[d].bits | (d + 1 < p.head_dim ? uint32_t{row[d + 1].bits} << 16 : 0);
}

template <typename T>
__device__ inline float2 read_pair(const float* row, int d, const Problem<T>& p) {
  if (d >= p.head_dim) return float2{0, 0};
  if (p.aligned) return *reinterpret_cast<const float2*>(row + d);
  return float2{row[d], d + 1 < p.head_dim ? row[d + 1] : 0};
}

template <typename T>
__device__ inline void write_pair(T* row, int d, float low, float high, const Problem<T>& p) {
  if (d >= p.head_dim) return;
  const uint32_t both = pack<T>(low, high);
  if (p.aligned) {
    *reinterpret_cast<uint32_t*>(row + d) = both;
    return;
  }
  row[d].bits = uint16_t(both);
  if (d + 1 < p.head_dim) row[d + 1].bits = uint16_t(both >> 16);
}

template <typename T>
__device__ inline void write_pair(float* row, int d, float low, float high, const Problem<T>& p) {
  if (d >= p.head_dim) return;
  if (p.aligned) {
    *reinterpret_cast<float2*>(row + d) = float2{low, high};
    return;
  }
  row[d] = low;
  if (d + 1 < p.head_dim) row[d + 1] = high;
}

// The left operands of sixteen queries, of which the last may not be there: they become zeros.
// rows: [num_rows, head_dim] in device memory.
template <int kSteps, typename T>
__device__ inline void read_queries(uint32_t (&q)[kSteps][4], const T* rows, int num_rows,
                                    const Problem<T>& p) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = fragment_row() + 8 * half;
    const T* const from = rows + int64_t(row) * p.head_dim;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const int d = 16 * step + fragment_column();
      q[step][half] = row < num_rows ? read_pair(from, d, p) : 0;
      q[step][half + 2] = row < num_rows ? read_pair(from, d + 8, p) : 0;
    }
  }
}

// The running softmax of sixteen queries. kWidth: columns of the values.
template <int kWidth>
struct Softmax {
  float top[2] = {-FLT_MAX, -FLT_MAX};  // largest score; finite, for -inf - -inf would be nan
  float mass[2] = {};                   // sum of weights, of this lane's columns
  float acc[kWidth / 8][4] = {};        // weights times values

  __device__ void raise_top(int half, float new_top) {
    const float decay = exp2_fast(top[half] - new_top);
    top[half] = new_top;
    mass[half] *= decay;
#pragma unroll
    for (int n = 0; n < kWidth / 8; ++n) {
      acc[n][2 * half] *= decay;
      acc[n][2 * half + 1] *= decay;
    }
  }

  // Scores of kKeys keys, of which num_keys are there, made weights: the left operands of the
  // product with the values. scale is positive.
  template <typename T, int kKeys>
  __device__ void weigh(uint32_t (&weights)[kKeys / 16][4], float (&scores)[kKeys / 8][4],
                        int num_keys, float scale) {
    if (num_keys < kKeys) {
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (8 * n + fragment_column() + i % 2 >= num_keys) scores[n][i] = -INFINITY;
        }
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = -INFINITY;
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) {
        largest = fmaxf(largest, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
      }
      raise_top(half, fmaxf(top[half], max_of_lanes<4>(largest) * scale));
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) {
        const float low = exp2_fast(fmaf(scores[n][2 * half], scale, -top[half]));
        const float high = exp2_fast(fmaf(scores[n][2 * half + 1], scale, -top[half]));
        mass[half] += low;
        mass[half] += high;
        weights[n / 2][n % 2 * 2 + half] = pack<T>(low, high);
      }
    }
  }
};

}  // namespace t2
