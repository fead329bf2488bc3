// The suffix part of slab_attention.cu in 16-bit types, on tensor cores by mma.sync: the sharers of
// a kv head are queries of one product with the keys that the row has to itself.
#pragma once

#include "mma_tile.h"

namespace t2 {

// One block owns one row and up to sixteen query heads of one kv head; its warps have them all, and
// part of the row's states and keys. Grid: rows, kv heads, groups of sixteen heads.
template <typename T, int kWidth>  // kWidth >= head_dim
struct MmaSuffix {
  static constexpr int kWarps = 2;
  using Ring = MmaRing<T, kWidth, 32, 3, kWarps>;
  using AllParts = Parts<kWidth, kWarps>;
  static_assert(AllParts::kBytes <= Ring::kBytes);

  // The states that the prefix kernel left of these heads: a warp joins every kWarps-th.
  __device__ static void join_states(Softmax<kWidth>& softmax, int64_t row, int64_t first_head,
                                     int num_heads, const Problem<T>& p) {
    const int begin = p.row_states[row] + threadIdx.x / kWarpSize, end = p.row_states[row + 1];
    const int64_t all_heads = int64_t(p.num_kv_heads) * p.sharers;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int head = fragment_row() + 8 * half;
      if (head >= num_heads) continue;
      float top = -FLT_MAX;
      for (int state = begin; state < end; state += kWarps) {
        top = fmaxf(top, p.lse[state * all_heads + first_head + head] * kLog2E);
      }
      softmax.top[half] = top;
      for (int state = begin; state < end; state += kWarps) {
        const int64_t at = state * all_heads + first_head + head;
        const float weight = exp2_fast(fmaf(p.lse[at], kLog2E, -top));
        if (threadIdx.x % 4 == 0) softmax.mass[half] += weight;
#pragma unroll
        for (int n = 0; n < kWidth / 8; ++n) {
          const float2 pair = read_pair(p.state + at * p.head_dim, 8 * n + fragment_column(), p);
          softmax.acc[n][2 * half] = fmaf(weight, pair.x, softmax.acc[n][2 * half]);
          softmax.acc[n][2 * half + 1] = fmaf(weight, pair.y, softmax.acc[n][2 * half + 1]);
        }
      }
    }
  }

  __device__ static void run(T* shared, const Problem<T>& p) {
    const int64_t row = blockIdx.x, kv_head = blockIdx.y;
    const int first_sharer = blockIdx.z * kWarpRows;
    const int num_heads = min(p.sharers - first_sharer, kWarpRows);
    const RowKeys<T> keys(p, row, int(kv_head));
    const auto place = [&](int key) { return keys.at(key, p); };
    const Feed feed(Ring{shared}, keys.count, place, p);
    MmaQueries<T, Ring> queries;
    const int64_t query = (kv_head * p.num_rows + row) * p.sharers + first_sharer;
    read_queries(queries.q, p.q + query * p.head_dim, num_heads, p);
    join_states(queries, row, kv_head * p.sharers + first_sharer, num_heads, p);
    feed.template attend<kWarps>(queries);
    __syncthreads();  // nobody reads the last tile any more
    const AllParts parts(shared);
    parts.write(queries);
    __syncthreads();
    const int64_t head = (row * p.num_kv_heads + kv_head) * p.sharers + first_sharer;
    for (int i = threadIdx.x; i < num_heads * (kWidth / 2); i += Ring::kThreads) {
      const int sharer = i / (kWidth / 2), d = i % (kWidth / 2) * 2;
      const auto joined = parts.join(sharer, d);
      const float factor = joined.mass == 0 ? 0.0f : 1 / joined.mass;  // no keys at all: 0
      write_pair(p.out + (head + sharer) * p.head_dim, d, joined.low * factor, joined.high * factor,
                 p);
    }
  }
};

template <typename T, int kWidth>
__global__ void __launch_bounds__(64, kWidth <= 80 ? 8 : 4) mma_suffix_kernel(const Problem<T> p) {
  extern __shared__ float4 shared[];
  MmaSuffix<T, kWidth>::run(reinterpret_cast<T*>(shared), p);
}

}  // namespace t2
