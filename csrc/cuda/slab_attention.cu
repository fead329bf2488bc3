// CUDA backend of t2engine/ops/slab_attention.py, in two launches: the prefix kernel leaves a state
// (out, lse) for every query of every item of the plan, and the suffix kernel goes on from those
// states with the keys that a row has to itself. Without items it is the only launch.
#include <initializer_list>
#include <stdexcept>
#include <string>

#include "../cuda_ops.h"
#include "fma_prefix.h"
#include "fma_suffix.h"
#include "hopper/wgmma_prefix.h"
#include "launch.h"
#include "mma_prefix.h"
#include "mma_suffix.h"

namespace t2 {
namespace {

constexpr int kMaxHeadDim = 256;

[[noreturn]] void refuse(const std::string& reason) {
  throw std::invalid_argument("slab_attention: " + reason);
}

template <typename... Pointers>
bool all_aligned(Pointers... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

int blocks_of(int count, int size) { return (count + size - 1) / size; }

void launch_prefix(const Problem<float>& p, const std::string& kernel, cudaStream_t stream) {
  if (kernel != "fma64") refuse("float32 has no kernel named " + kernel + " on CUDA");
  const dim3 grid(unsigned(p.num_items), unsigned(p.num_kv_heads));
  const size_t bytes = PrefixTiles::bytes(row_stride(p.head_dim));
  const auto run = [&](auto* function) { launch(function, grid, kThreads, bytes, stream, p); };
  if (p.head_dim <= 64) return run(fma_prefix_kernel<2>);
  if (p.head_dim <= 96) return run(fma_prefix_kernel<3>);
  if (p.head_dim <= 128) return run(fma_prefix_kernel<4>);
  run(fma_prefix_kernel<8>);
}

template <int kColumns>
void launch_suffix_of(const Problem<float>& p, cudaStream_t stream) {
  const dim3 grid(unsigned(p.num_rows), unsigned(p.num_kv_heads),
                  unsigned(blocks_of(p.sharers, kMaxSharers)));
  const size_t bytes = SuffixTiles<kSuffixStages<kColumns>>::bytes(row_stride(p.head_dim));
  const auto kernel =
      p.sharers <= kWarps ? fma_suffix_kernel<1, kColumns> : fma_suffix_kernel<2, kColumns>;
  launch(kernel, grid, kThreads, bytes, stream, p);
}

void launch_suffix(const Problem<float>& p, cudaStream_t stream) {
  p.head_dim <= 128 ? launch_suffix_of<1>(p, stream) : launch_suffix_of<2>(p, stream);
}

// Calls run with the narrowest width that holds head_dim, as a type.
template <int kWidth>
struct Width {
  static constexpr int kValue = kWidth;
};
template <typename Run>
void with_width(int head_dim, const Run& run) {
  if (head_dim <= 64) return run(Width<64>());
  if (head_dim <= 80) return run(Width<80>());
  if (head_dim <= 96) return run(Width<96>());
  if (head_dim <= 128) return run(Width<128>());
  run(Width<kMaxHeadDim>());
}

template <typename T>
void launch_prefix(const Problem<T>& p, const std::string& kernel, cudaStream_t stream) {
  if (kernel == "wgmma128") return launch_wgmma_prefix(p, stream);
  if (kernel != "mma16" && kernel != "mma64") {
    refuse("16-bit types have no kernel named " + kernel + " on CUDA");
  }
  const dim3 grid(unsigned(p.num_items), unsigned(p.num_kv_heads));
  with_width(p.head_dim, [&](auto width) {
    using W = decltype(width);
    const auto run = [&](auto* function, int threads, size_t bytes) {
      launch(function, grid, threads, bytes, stream, p);
    };
    if (kernel == "mma16") {
      using Kernel = MmaPrefix<T, W::kValue, 16>;
      run(mma_prefix_kernel<T, W::kValue, 16>, Kernel::Ring::kThreads, Kernel::kBytes);
    } else {
      using Kernel = MmaPrefix<T, W::kValue, 64>;
      run(mma_prefix_kernel<T, W::kValue, 64>, Kernel::Ring::kThreads, Kernel::kBytes);
    }
  });
}

template <typename T>
void launch_suffix(const Problem<T>& p, cudaStream_t stream) {
  const dim3 grid(unsigned(p.num_rows), unsigned(p.num_kv_heads),
                  unsigned(blocks_of(p.sharers, kWarpRows)));
  with_width(p.head_dim, [&](auto width) {
    using W = decltype(width);
    using Ring = typename MmaSuffix<T, W::kValue>::Ring;
    launch(mma_suffix_kernel<T, W::kValue>, grid, Ring::kThreads, Ring::kBytes, stream, p);
  });
}

template <typename T>
void run(Stored<3> out, Stored<4> q, Stored<3> prefix_k, Stored<3> prefix_v,
         Tensor<const int32_t, 2> items, Tensor<const int32_t, 1> row_states,
         Tensor<const int32_t, 1> row_spans, Tensor<const int32_t, 2> spans, Tensor<float, 3> state,
         Tensor<float, 2> lse, Stored<4> slab_k, Stored<4> slab_v,
         Tensor<const int64_t, 2> row_chunk, Tensor<const int64_t, 1> first,
         Tensor<const int64_t, 1> last, float scale, const std::string& kernel,
         cudaStream_t stream) {
  const auto elements = [](const auto& x) { return static_cast<T*>(x.data); };
  const int head_dim = int(q.size(3));
  const bool aligned =
      head_dim * sizeof(T) % 16 == 0 && all_aligned(out.data, q.data, prefix_k.data, prefix_v.data,
                                                    slab_k.data, slab_v.data, state.data);
  const Problem<T> p{elements(q),
                     elements(prefix_k),
                     elements(prefix_v),
                     items.data,
                     row_states.data,
                     row_spans.data,
                     spans.data,
                     state.data,
                     lse.data,
                     elements(slab_k),
                     elements(slab_v),
                     row_chunk.data,
                     first.data,
                     last.data,
                     elements(out),
                     q.size(1),
                     items.size(0),
                     prefix_k.size(1),
                     uint32_t(slab_k.size(2)),
                     uint32_t(row_chunk.size(0)),
                     int(q.size(0)),
                     int(q.size(2)),
                     head_dim,
                     scale * kLog2E,
                     aligned};
  if (p.num_items > 0) launch_prefix(p, kernel, stream);
  launch_suffix(p, stream);
}

}  // namespace

void slab_attention_cuda(Stored<3> out, Stored<4> q, Stored<3> prefix_k, Stored<3> prefix_v,
                         Tensor<const int32_t, 2> items, Tensor<const int32_t, 1> row_states,
                         Tensor<const int32_t, 1> row_spans, Tensor<const int32_t, 2> spans,
                         Tensor<float, 3> state, Tensor<float, 2> lse, Stored<4> slab_k,
                         Stored<4> slab_v, Tensor<const int64_t, 2> row_chunk,
                         Tensor<const int64_t, 1> first, Tensor<const int64_t, 1> last, float scale,
                         const std::string& kernel, void* stream) {
  for (Dtype dtype : {out.dtype, prefix_k.dtype, prefix_v.dtype, slab_k.dtype, slab_v.dtype}) {
    if (dtype != q.dtype) refuse("out, keys and values must be of q's dtype");
  }
  if (q.size(3) > kMaxHeadDim) {
    refuse("head_dim must be at most 256 on CUDA, got " + std::to_string(q.size(3)));
  }
  if (!(scale > 0)) refuse("scale must be positive on CUDA, got " + std::to_string(scale));
  if (q.size(0) * q.size(1) * q.size(2) * q.size(3) == 0) return;
  const auto run_as = [&](auto function) {
    function(out, q, prefix_k, prefix_v, items, row_states, row_spans, spans, state, lse, slab_k,
             slab_v, row_chunk, first, last, scale, kernel, static_cast<cudaStream_t>(stream));
  };
  switch (q.dtype) {
    case Dtype::kFloat32:
      return run_as(run<float>);
    case Dtype::kFloat16:
      return run_as(run<Float16>);
    case Dtype::kBfloat16:
      return run_as(run<Bfloat16>);
    case Dtype::kInt8:
      refuse("q must be float32, float16 or bfloat16 on CUDA, got int8");
  }
}

}  // namespace t2
