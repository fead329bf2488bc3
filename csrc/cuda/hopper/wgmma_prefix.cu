// The prefix part of slab_attention.cu by wgmma; see wgmma_prefix.h.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "../launch.h"
#include "wgmma_kernel.h"
#include "wgmma_prefix.h"

namespace t2 {
namespace {

template <typename T>
void launch_any(const Problem<T>& p, cudaStream_t stream) {
  int device = 0, processors = 0;
  T2_CUDA_CHECK(cudaGetDevice(&device));
  T2_CUDA_CHECK(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
  const dim3 grid(unsigned(std::min(p.num_items * p.num_kv_heads, int64_t(processors))));
  if (p.head_dim == 64) {
    launch(wgmma_prefix_kernel<T, 64>, grid, kThreads, Slots<64>::kSharedBytes, stream, p);
  } else if (p.head_dim == 128) {
    launch(wgmma_prefix_kernel<T, 128>, grid, kThreads, Slots<128>::kSharedBytes, stream, p);
  } else {
    throw std::invalid_argument("slab_attention: wgmma128 takes head_dim 64 or 128, got " +
                                std::to_string(p.head_dim));
  }
}

}  // namespace

void launch_wgmma_prefix(const Problem<Float16>& p, cudaStream_t stream) { launch_any(p, stream); }
void launch_wgmma_prefix(const Problem<Bfloat16>& p, cudaStream_t stream) { launch_any(p, stream); }

}  // namespace t2
