// The prefix part of slab_attention.cu by wgmma; see wgmma_prefix.h.
#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "../launch.h"
#include "tensor_map.h"
#include "wgmma_kernel.h"
#include "wgmma_prefix.h"

namespace t2 {
namespace {

template <int kWidth, typename T>
void launch_width(const Problem<T>& p, cudaStream_t stream) {
  int device = 0, processors = 0;
  T2_CUDA_CHECK(cudaGetDevice(&device));
  T2_CUDA_CHECK(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
  const dim3 grid(unsigned(std::min(p.num_items * p.num_kv_heads, int64_t(processors))));
  const auto boxes_of = [&](const T* store) {
    return map_boxes(store, p.num_kv_heads, p.prefix_size, kWidth, kTileKeys);
  };
  launch(wgmma_prefix_kernel<T, kWidth>, grid, kThreads, Slots<kWidth>::kSharedBytes, stream, p,
         boxes_of(p.prefix_k), boxes_of(p.prefix_v));
}

template <typename T>
void launch_any(const Problem<T>& p, cudaStream_t stream) {
  const auto past = [](const T* store) { return reinterpret_cast<uintptr_t>(store) % 16; };
  const auto k = past(p.prefix_k), v = past(p.prefix_v);
  if (k + v > 0) {
    throw std::invalid_argument(
        "slab_attention: wgmma128 takes prefix_k and prefix_v that start at multiples of 16 bytes, "
        "got " +
        std::to_string(k) + " and " + std::to_string(v) + " bytes more");
  }
  if (p.head_dim == 64) return launch_width<64>(p, stream);
  if (p.head_dim == 128) return launch_width<128>(p, stream);
  throw std::invalid_argument("slab_attention: wgmma128 takes head_dim 64 or 128, got " +
                              std::to_string(p.head_dim));
}

}  // namespace

void launch_wgmma_prefix(const Problem<Float16>& p, cudaStream_t stream) { launch_any(p, stream); }
void launch_wgmma_prefix(const Problem<Bfloat16>& p, cudaStream_t stream) { launch_any(p, stream); }

}  // namespace t2
