// What both kernels in float32 share: tiles of keys copied to shared memory, and arithmetic on four
// floats at a time.
#pragma once

#include <cuda_pipeline.h>

#include "attention_problem.h"

namespace t2 {

constexpr int kThreads = 128;   // of a block of either kernel
constexpr int kTileKeys = 32;   // keys of a tile in shared memory
constexpr int kCopyLanes = 16;  // threads that copy one row together

using Floats = Problem<float>;

// Floats from one row to the next in shared memory: an odd number of float4, so that eight lanes
// reading a float4 each from eight rows meet no bank twice.
__host__ __device__ inline int row_stride(int head_dim) { return 4 * (((head_dim + 3) / 4) | 1); }

// Starts the copy of one row to shared memory, by kCopyLanes threads. A row that is not there
// becomes zeros, and so do the floats past head_dim up to a multiple of 4.
__device__ inline void copy_row(float* to, const float* from, bool there, const Floats& p) {
  const int lane = threadIdx.x % kCopyLanes;
  if (p.aligned) {
    for (int d = 4 * lane; d < p.head_dim; d += 4 * kCopyLanes) {
      __pipeline_memcpy_async(to + d, from + d, 16, there ? 0 : 16);
    }
  } else {
    for (int d = lane; d < (p.head_dim + 3) / 4 * 4; d += kCopyLanes) {
      const bool inside = there && d < p.head_dim;
      __pipeline_memcpy_async(to + d, inside ? from + d : from, 4, inside ? 0 : 4);
    }
  }
}

__device__ inline float4 load4(const float* from) { return *reinterpret_cast<const float4*>(from); }

__device__ inline float dot4(float4 a, float4 b, float sum) {
  return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

__device__ inline float4 add_scaled(float4 sum, float factor, float4 x) {
  return {fmaf(factor, x.x, sum.x), fmaf(factor, x.y, sum.y), fmaf(factor, x.z, sum.z),
          fmaf(factor, x.w, sum.w)};
}

__device__ inline float4 scaled(float4 x, float factor) {
  return {x.x * factor, x.y * factor, x.z * factor, x.w * factor};
}

// Four columns of a row in device memory, of which the last may lie past head_dim.
__device__ inline float4 read_columns(const float* row, int column, const Floats& p) {
  if (p.aligned) return load4(row + column);
  const auto at = [&](int d) { return d < p.head_dim ? row[d] : 0.0f; };
  return {at(column), at(column + 1), at(column + 2), at(column + 3)};
}

__device__ inline void write_columns(float* row, int column, float4 x, const Floats& p) {
  if (p.aligned) {
    *reinterpret_cast<float4*>(row + column) = x;
    return;
  }
  row[column] = x.x;
  if (column + 1 < p.head_dim) row[column + 1] = x.y;
  if (column + 2 < p.head_dim) row[column + 2] = x.z;
  if (column + 3 < p.head_dim) row[column + 3] = x.w;
}

}  // namespace t2
