// CUDA backend of t2engine/ops/silu_mul.py.
#include "../cuda_ops.h"
#include "check.h"
#include "elements.h"
#include "stored.h"

namespace t2 {
namespace {

constexpr int kThreads = 128;

__device__ inline float silu(float x) { return __fdividef(x, 1 + expf(-x)); }

// One thread owns kPack columns of a row. Grid: rows, blocks of columns.
// out: [rows, width]; gate_up: [rows, 2 width].
template <typename T, bool kAligned>
__global__ void __launch_bounds__(kThreads)
    silu_mul_kernel(T* __restrict__ out, const T* __restrict__ gate_up, int64_t width) {
  const int64_t at = (int64_t(blockIdx.y) * kThreads + threadIdx.x) * kPack<T>;
  if (at >= width) return;
  const T* const row = gate_up + 2 * width * blockIdx.x;
  Pack<T> gate = load_pack<kAligned>(row, at, width, T{});
  const Pack<T> up = load_pack<kAligned>(row + width, at, width, T{});
#pragma unroll
  for (int i = 0; i < kPack<T>; ++i) {
    gate.at[i] = from_float<T>(silu(to_float(gate.at[i])) * to_float(up.at[i]));
  }
  store_pack<kAligned>(out + width * blockIdx.x, at, width, gate);
}

template <typename T>
void launch(Stored<2> out, Stored<2> x, cudaStream_t stream) {
  const int64_t rows = out.size(0), width = out.size(1), row_bytes = width * int64_t(sizeof(T));
  const int64_t columns = int64_t(kThreads) * kPack<T>;
  const dim3 grid(unsigned(rows), unsigned((width + columns - 1) / columns));
  const bool aligned = rows_are_aligned(out.data, row_bytes) && rows_are_aligned(x.data, row_bytes);
  const auto run = [&](auto kernel) {
    kernel<<<grid, kThreads, 0, stream>>>(static_cast<T*>(out.data), static_cast<const T*>(x.data),
                                          width);
  };
  aligned ? run(silu_mul_kernel<T, true>) : run(silu_mul_kernel<T, false>);
}

}  // namespace

void silu_mul_cuda(Stored<2> out, Stored<2> x, void* stream) {
  const Dtype dtype = common_dtype("silu_mul", {{"gate_up", x}, {"out", out}});
  if (out.size(0) == 0 || out.size(1) == 0) return;
  with_type(dtype, [&](auto element) {
    launch<decltype(element)>(out, x, static_cast<cudaStream_t>(stream));
  });
  T2_CUDA_CHECK(cudaGetLastError());
}

}  // namespace t2
