// CUDA backend of t2engine/ops/merge_states.py.
#include <cfloat>

#include "../cuda_ops.h"
#include "check.h"

namespace t2 {
namespace {

constexpr int kWarpSize = 32;
constexpr int kWarpsPerBlock = 4;

// One warp per (sample, head) row; lanes stride over head_dim.
// out, out_*: [rows, head_dim]; lse, lse_*: [rows], natural log.
__global__ void merge_states_kernel(float* __restrict__ out, float* __restrict__ lse,
                                    const float* __restrict__ out_a,
                                    const float* __restrict__ lse_a,
                                    const float* __restrict__ out_b,
                                    const float* __restrict__ lse_b, int64_t rows, int head_dim) {
  const int64_t row = int64_t(blockIdx.x) * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  // Both sets empty: the finite floor keeps -inf - -inf (nan) from appearing.
  const float top = fmaxf(fmaxf(lse_a[row], lse_b[row]), -FLT_MAX);
  const float mass_a = expf(lse_a[row] - top);
  const float mass_b = expf(lse_b[row] - top);
  const float mass = mass_a + mass_b;
  const float weight_a = mass == 0 ? 0.0f : mass_a / mass;
  const float weight_b = mass == 0 ? 0.0f : mass_b / mass;
  if (threadIdx.x == 0) lse[row] = top + logf(mass);  // log 0 is -inf: no keys at all
  for (int d = threadIdx.x; d < head_dim; d += kWarpSize) {
    const int64_t at = row * head_dim + d;
    out[at] = weight_a * out_a[at] + weight_b * out_b[at];
  }
}

}  // namespace

void merge_states_cuda(Tensor<float, 3> out, Tensor<float, 2> lse, Tensor<const float, 3> out_a,
                       Tensor<const float, 2> lse_a, Tensor<const float, 3> out_b,
                       Tensor<const float, 2> lse_b, void* stream) {
  const int64_t rows = out.rows();
  if (rows == 0) return;
  const dim3 block(kWarpSize, kWarpsPerBlock);
  const auto blocks = unsigned((rows + kWarpsPerBlock - 1) / kWarpsPerBlock);
  merge_states_kernel<<<blocks, block, 0, static_cast<cudaStream_t>(stream)>>>(
      out.data, lse.data, out_a.data, lse_a.data, out_b.data, lse_b.data, rows, int(out.size(2)));
  T2_CUDA_CHECK(cudaGetLastError());
}

}  // namespace t2
