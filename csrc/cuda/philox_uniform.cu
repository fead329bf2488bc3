// CUDA backend of t2engine/ops/philox_uniform.py.
#include "../cuda_ops.h"
#include "check.h"
#include "philox.h"

namespace t2 {
namespace {

constexpr int kThreads = 128;

// One thread per row.
// out, seed, prompt, sample, step: [rows].
__global__ void __launch_bounds__(kThreads)
    philox_uniform_kernel(double* __restrict__ out, const int64_t* __restrict__ seed,
                          const int64_t* __restrict__ prompt, const int64_t* __restrict__ sample,
                          const int64_t* __restrict__ step, int64_t rows) {
  const int64_t row = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (row < rows) out[row] = uniform_of(seed[row], prompt[row], sample[row], step[row]);
}

}  // namespace

void philox_uniform_cuda(Tensor<double, 1> out, Tensor<const int64_t, 1> seed,
                         Tensor<const int64_t, 1> prompt, Tensor<const int64_t, 1> sample,
                         Tensor<const int64_t, 1> step, void* stream) {
  const int64_t rows = out.size(0);
  if (rows == 0) return;
  const auto blocks = unsigned((rows + kThreads - 1) / kThreads);
  philox_uniform_kernel<<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      out.data, seed.data, prompt.data, sample.data, step.data, rows);
  T2_CUDA_CHECK(cudaGetLastError());
}

}  // namespace t2
