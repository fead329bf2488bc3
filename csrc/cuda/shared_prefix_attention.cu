// CUDA backend of t2engine/ops/shared_prefix_attention.py, in two launches: prefix_kernel leaves a
// state (out, lse) for each split of a prompt's keys, and suffix_kernel goes on from those states.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "../ops.h"
#include "check.h"
#include "prefix_kernel.h"
#include "suffix_kernel.h"

namespace t2 {
namespace {

constexpr int kBlocksPerProcessor = 2;  // that fit its shared memory at head_dim 128

// Device memory in stream order, given back when its scope ends.
class Scratch {
 public:
  Scratch(int64_t count, cudaStream_t stream) : stream_(stream) {
    T2_CUDA_CHECK(cudaMallocAsync(&data_, sizeof(float) * count, stream));
  }
  ~Scratch() { cudaFreeAsync(data_, stream_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  float* data() const { return static_cast<float*>(data_); }

 private:
  void* data_ = nullptr;
  cudaStream_t stream_;
};

template <typename... Pointers>
bool all_aligned(Pointers... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

// Splits enough to occupy the device, each with at least two tiles of an average prompt's keys.
int choose_splits(int64_t blocks, const Problem& p) {
  if (p.prefix_size == 0) return 0;
  int device = 0, processors = 0;
  T2_CUDA_CHECK(cudaGetDevice(&device));
  T2_CUDA_CHECK(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
  const int64_t useful = p.prefix_size / p.num_prompts / (2 * kTileKeys);
  return int(std::max<int64_t>(1, std::min(processors * kBlocksPerProcessor / blocks, useful)));
}

template <typename Kernel, typename... Args>
void launch(Kernel kernel, dim3 grid, size_t shared_bytes, cudaStream_t stream, Args... args) {
  T2_CUDA_CHECK(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared_bytes)));
  kernel<<<grid, kThreads, shared_bytes, stream>>>(args...);
  T2_CUDA_CHECK(cudaGetLastError());
}

auto choose_prefix_kernel(const Problem& p) {
  if (p.head_dim <= 64) return prefix_kernel<2>;
  if (p.head_dim <= 96) return prefix_kernel<3>;
  return p.head_dim <= 128 ? prefix_kernel<4> : prefix_kernel<8>;
}

auto choose_suffix_kernel(const Problem& p) {
  if (p.sharers <= kWarps) return p.head_dim <= 128 ? suffix_kernel<1, 1> : suffix_kernel<1, 2>;
  return p.head_dim <= 128 ? suffix_kernel<2, 1> : suffix_kernel<2, 2>;
}

}  // namespace

void shared_prefix_attention_cuda(Tensor<float, 3> out, Tensor<const float, 3> q,
                                  Tensor<const float, 3> prefix_k, Tensor<const float, 3> prefix_v,
                                  Tensor<const int64_t, 2> prefix_bounds,
                                  Tensor<const int64_t, 1> row_bounds,
                                  Tensor<const float, 4> suffix_k, Tensor<const float, 4> suffix_v,
                                  Tensor<const int64_t, 1> row_slot,
                                  Tensor<const int64_t, 1> suffix_len, float scale, void* stream) {
  if (out.numel() == 0) return;
  const int head_dim = int(q.size(2));
  if (head_dim > 256) {
    throw std::invalid_argument(
        "shared_prefix_attention: head_dim must be at most 256 on CUDA, got " +
        std::to_string(head_dim));
  }
  const int num_heads = int(q.size(1)), num_kv_heads = int(prefix_k.size(0));
  Problem p{q.data,
            prefix_k.data,
            prefix_v.data,
            prefix_bounds.data,
            row_bounds.data,
            suffix_k.data,
            suffix_v.data,
            row_slot.data,
            suffix_len.data,
            q.size(0),
            prefix_bounds.size(0),
            prefix_k.size(1),
            suffix_k.size(2),
            num_heads,
            num_kv_heads,
            num_heads / num_kv_heads,
            head_dim,
            0,
            scale * kLog2E,
            head_dim % 4 == 0 && all_aligned(out.data, q.data, prefix_k.data, prefix_v.data,
                                             suffix_k.data, suffix_v.data)};
  const int64_t tiles = first_tile(p.num_rows * p.sharers, p.num_prompts);
  p.splits = choose_splits(tiles * num_kv_heads, p);

  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  const int64_t num_states = p.splits * p.num_rows * num_heads;
  const Scratch state(num_states * head_dim, cuda_stream), lse(num_states, cuda_stream);
  const int stride = row_stride(head_dim);
  if (p.splits > 0) {
    launch(choose_prefix_kernel(p), dim3(tiles, num_kv_heads, p.splits), PrefixTiles::bytes(stride),
           cuda_stream, state.data(), lse.data(), p);
  }
  launch(choose_suffix_kernel(p),
         dim3(p.num_rows, num_kv_heads, (p.sharers + kMaxSharers - 1) / kMaxSharers),
         SuffixTiles::bytes(stride), cuda_stream, out.data, state.data(), lse.data(), p);
}

}  // namespace t2
