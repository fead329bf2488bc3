// CUDA backend of t2engine/ops/rms_norm.py.
#include <algorithm>

#include "../cuda_ops.h"
#include "check.h"
#include "elements.h"
#include "stored.h"
#include "warp.h"

namespace t2 {
namespace {

constexpr int kMaxThreads = 256;

// One block per row. A thread owns kPack columns, and those that lie a block's width further: how
// a row is summed depends on its width alone, not on the rows, nor on how they are aligned.
// out, x: [rows, width]; weight: [width]. Shared memory: a float for each warp.
template <typename T, bool kAligned>
__global__ void __launch_bounds__(kMaxThreads)
    rms_norm_kernel(T* __restrict__ out, const T* __restrict__ x, const T* __restrict__ weight,
                    int64_t width, float eps) {
  const T* row = x + blockIdx.x * width;
  const int64_t first = int64_t(threadIdx.x) * kPack<T>, step = int64_t(blockDim.x) * kPack<T>;
  float sum = 0;
  for (int64_t at = first; at < width; at += step) {
    const Pack<T> pack = load_pack<kAligned>(row, at, width, T{});
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) {
      const float value = at + i < width ? to_float(pack.at[i]) : 0.0f;
      sum = fmaf(value, value, sum);
    }
  }
  float* const warp_sums = static_cast<float*>(shared_memory());
  sum = sum_of_warp(sum);
  if (threadIdx.x % kWarpLanes == 0) warp_sums[threadIdx.x / kWarpLanes] = sum;
  __syncthreads();
  float total = 0;
  for (unsigned warp = 0; warp < blockDim.x / kWarpLanes; ++warp) total += warp_sums[warp];
  const float factor = rsqrtf(total / float(width) + eps);
  for (int64_t at = first; at < width; at += step) {
    Pack<T> pack = load_pack<kAligned>(row, at, width, T{});
    const Pack<T> scale = load_pack<kAligned>(weight, at, width, T{});
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) {
      pack.at[i] = from_float<T>(to_float(pack.at[i]) * factor * to_float(scale.at[i]));
    }
    store_pack<kAligned>(out + blockIdx.x * width, at, width, pack);
  }
}

template <typename T>
void launch(Stored<2> out, Stored<2> x, Stored<1> weight, float eps, cudaStream_t stream) {
  const int64_t rows = x.size(0), width = x.size(1), row_bytes = width * int64_t(sizeof(T));
  const int64_t warps = (width + kWarpLanes * kPack<T> - 1) / (kWarpLanes * kPack<T>);
  const auto threads = unsigned(std::min<int64_t>(kWarpLanes * warps, kMaxThreads));
  const bool aligned = rows_are_aligned(out.data, row_bytes) &&
                       rows_are_aligned(x.data, row_bytes) &&
                       rows_are_aligned(weight.data, row_bytes);
  const size_t shared_bytes = threads / kWarpLanes * sizeof(float);
  const auto run = [&](auto kernel) {
    kernel<<<unsigned(rows), threads, shared_bytes, stream>>>(
        static_cast<T*>(out.data), static_cast<const T*>(x.data),
        static_cast<const T*>(weight.data), width, eps);
  };
  aligned ? run(rms_norm_kernel<T, true>) : run(rms_norm_kernel<T, false>);
}

}  // namespace

void rms_norm_cuda(Stored<2> out, Stored<2> x, Stored<1> weight, float eps, void* stream) {
  const Dtype dtype = common_dtype("rms_norm", {{"x", x}, {"weight", weight}, {"out", out}});
  if (x.size(0) == 0 || x.size(1) == 0) return;
  with_type(dtype, [&](auto element) {
    launch<decltype(element)>(out, x, weight, eps, static_cast<cudaStream_t>(stream));
  });
  T2_CUDA_CHECK(cudaGetLastError());
}

}  // namespace t2
