// The prefix part of slab_attention.cu in 16-bit types, on tensor cores by mma.sync.
#pragma once

#include "mma_tile.h"

namespace t2 {

// Keys of a tile, and tiles in flight, that shared memory and registers hold of a width.
constexpr int mma_keys(int width, int rows) { return width <= 128 || rows == 16 ? 64 : 32; }
constexpr int mma_stages(int width, int rows) { return width <= 128 && rows == 16 ? 3 : 2; }

// One block owns an item: kRows queries of one kv head against one split of the keys. The warps
// have sixteen queries each, or, when there are no more, the same ones and a quarter of the keys.
// Grid: items, kv heads.
template <typename T, int kWidth, int kRows>  // kWidth >= head_dim
struct MmaPrefix {
  static constexpr int kWarps = 4, kSharing = kRows == 16 ? kWarps : 1;
  static_assert(kRows == kWarpRows * kWarps / kSharing);
  using Ring = MmaRing<T, kWidth, mma_keys(kWidth, kRows), mma_stages(kWidth, kRows), kWarps>;
  using AllParts = Parts<kWidth, kWarps>;
  static constexpr size_t kBytes =
      Ring::kBytes > AllParts::kBytes || kSharing == 1 ? Ring::kBytes : AllParts::kBytes;

  __device__ static void write_state(float top, float mass, int64_t state, const Problem<T>& p) {
    p.lse[state] = top * kLn2 + logf(mass);
  }

  // Each warp has queries of its own.
  __device__ static void write_own(const Softmax<kWidth>& softmax, const Item& item, int kv_head,
                                   const Problem<T>& p) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float total = sum_of_lanes<4>(softmax.mass[half]);
      const int query =
          item.query + threadIdx.x / kWarpSize * kWarpRows + fragment_row() + 8 * half;
      if (query >= item.queries) continue;
      const int64_t state = state_of(p, item, kv_head, query);
      if (threadIdx.x % 4 == 0) write_state(softmax.top[half], total, state, p);
      const float factor = 1 / total;
#pragma unroll
      for (int n = 0; n < kWidth / 8; ++n) {
        write_pair(p.state + state * p.head_dim, 8 * n + fragment_column(),
                   softmax.acc[n][2 * half] * factor, softmax.acc[n][2 * half + 1] * factor, p);
      }
    }
  }

  __device__ static void write_joined(const AllParts& parts, const Item& item, int kv_head,
                                      const Problem<T>& p) {
    for (int i = threadIdx.x; i < kWarpRows * kWidth / 2; i += Ring::kThreads) {
      const int row = i / (kWidth / 2), d = i % (kWidth / 2) * 2, query = item.query + row;
      if (query >= item.queries) return;
      const auto joined = parts.join(row, d);
      const int64_t state = state_of(p, item, kv_head, query);
      if (d == 0) write_state(joined.top, joined.mass, state, p);
      write_pair(p.state + state * p.head_dim, d, joined.low / joined.mass,
                 joined.high / joined.mass, p);
    }
  }

  __device__ static void run(T* shared, const Problem<T>& p) {
    const Item item = item_at(p, blockIdx.x);
    const int kv_head = blockIdx.y;
    const auto place = [&](int key) {
      const int64_t at = (blockIdx.y * p.prefix_size + item.start + key) * p.head_dim;
      return typename RowKeys<T>::Place{p.prefix_k + at, p.prefix_v + at};
    };
    const Feed feed(Ring{shared}, item.stop - item.start, place, p);
    const int first = item.query + threadIdx.x / kWarpSize / kSharing * kWarpRows;
    MmaQueries<T, Ring> queries;
    read_queries(queries.q, queries_of(p, item, kv_head) + int64_t(first) * p.head_dim,
                 item.queries - first, p);
    feed.template attend<kSharing>(queries);
    // Read again: kept until here it would cost registers.
    const Item done = item_at(p, blockIdx.x);
    if constexpr (kSharing == 1) {
      write_own(queries, done, kv_head, p);
    } else {
      __syncthreads();  // nobody reads the last tile any more
      const AllParts parts(shared);
      parts.write(queries);
      __syncthreads();
      write_joined(parts, done, kv_head, p);
    }
  }
};

// Blocks of a processor that registers are shared out for.
template <int kWidth>
constexpr int kMmaBlocks = kWidth <= 64    ? 4
                           : kWidth <= 128 ? 3
                                           : 1;

template <typename T, int kWidth, int kRows>
__global__ void __launch_bounds__(128, kMmaBlocks<kWidth>) mma_prefix_kernel(const Problem<T> p) {
  extern __shared__ float4 shared[];
  MmaPrefix<T, kWidth, kRows>::run(reinterpret_cast<T*>(shared), p);
}

}  // namespace t2
