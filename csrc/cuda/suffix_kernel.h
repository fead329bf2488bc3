// The suffix part of shared_prefix_attention.cu: each row's own keys, starting from the states that
// the prefix kernel left, so that merging them costs no launch of its own.
#pragma once

#include "attention_tile.h"

namespace t2 {

constexpr int kWarpSize = 32;
constexpr int kWarps = kThreads / kWarpSize;
constexpr int kMaxSharers = 8;  // query heads of one block

static_assert(kTileKeys == kWarpSize, "a lane owns one key of a tile");

// The shared memory of a block: a ring of two tiles, so that one arrives while the other is read.
struct SuffixTiles {
  float* q;        // [kMaxSharers, stride]
  float* keys;     // [2, kTileKeys, stride]
  float* values;   // [2, kTileKeys, stride]
  float* weights;  // [kWarps, kTileKeys]
  int stride;

  __device__ SuffixTiles(float* shared, int stride)
      : q(shared),
        keys(q + kMaxSharers * stride),
        values(keys + 2 * kTileKeys * stride),
        weights(values + 2 * kTileKeys * stride),
        stride(stride) {}

  // The tile that starts at `key`, of the two that take turns.
  __device__ float* k(int64_t key) const { return keys + key / kTileKeys % 2 * kTileKeys * stride; }
  __device__ float* v(int64_t key) const {
    return values + key / kTileKeys % 2 * kTileKeys * stride;
  }

  static size_t bytes(int stride) {
    return sizeof(float) * ((kMaxSharers + 4 * kTileKeys) * stride + kWarps * kTileKeys);
  }
};

// What a warp has of one query. Lane l owns key l of a tile, and columns 4 l, 4 (l + 32), ... (and
// the three after each) of the output.
template <int kColumns>
struct Query {
  float top = -FLT_MAX;  // largest score; finite, for -inf - -inf would be nan
  float mass = 0;        // sum of weights, of this lane's keys
  float4 acc[kColumns] = {};

  __device__ void raise_top(float new_top) {
    const float decay = exp2f(top - new_top);
    top = new_top;
    mass *= decay;
#pragma unroll
    for (int c = 0; c < kColumns; ++c) acc[c] = scaled(acc[c], decay);
  }

  // state: [head_dim] of one split of the prompt's keys; lse: its natural log-sum-exp.
  __device__ void join(const float* state, float lse, int lane, const Problem& p) {
    raise_top(fmaxf(top, lse * kLog2E));
    const float weight = exp2f(lse * kLog2E - top);
    if (lane == 0) mass += weight;
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const int column = 4 * (lane + c * kWarpSize);
      if (column >= p.head_dim) continue;
      acc[c] = add_scaled(acc[c], weight, read_columns(state, column, p));
    }
  }

  // q: [stride], k and v: [kTileKeys, stride], weights: [kTileKeys], all in shared memory.
  __device__ void attend(const float* q, const float* k, const float* v, float* weights,
                         int64_t num_keys, int lane, const Problem& p) {
    const int stride = row_stride(p.head_dim);
    float score = 0;
    for (int d = 0; d < p.head_dim; d += 4) {
      score = dot4(load4(q + d), load4(k + lane * stride + d), score);
    }
    score = lane < num_keys ? score * p.scale : -INFINITY;
    raise_top(fmaxf(top, max_of_lanes<kWarpSize>(score)));
    const float weight = exp2f(score - top);
    mass += weight;
    __syncwarp();  // the last tile's weights are no longer read
    weights[lane] = weight;
    __syncwarp();
#pragma unroll 4
    for (int key = 0; key < kTileKeys; ++key) {
#pragma unroll
      for (int c = 0; c < kColumns; ++c) {
        const int column = 4 * (lane + c * kWarpSize);
        if (column >= p.head_dim) continue;
        acc[c] = add_scaled(acc[c], weights[key], load4(v + key * stride + column));
      }
    }
  }

  // out: [head_dim].
  __device__ void write(float* out, int lane, const Problem& p) const {
    const float total = sum_of_lanes<kWarpSize>(mass);
    const float factor = total == 0 ? 0.0f : 1 / total;  // no keys at all: 0
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const int column = 4 * (lane + c * kWarpSize);
      if (column < p.head_dim) write_columns(out, column, scaled(acc[c], factor), p);
    }
  }
};

// One block owns one row and up to kMaxSharers query heads of one kv head; warp w owns heads w,
// w + kWarps, ... of them. Grid: rows, kv heads, groups of kMaxSharers heads.
// out: [num_rows, num_heads, head_dim]; state and lse: as prefix_kernel leaves them.
template <int kHeadsPerWarp, int kColumns>  // 128 kColumns >= head_dim
__global__ void __launch_bounds__(kThreads)
    suffix_kernel(float* __restrict__ out, const float* __restrict__ state,
                  const float* __restrict__ lse, const Problem p) {
  const int64_t row = blockIdx.x;
  const int first_sharer = blockIdx.z * kMaxSharers;
  const int num_heads = min(p.sharers - first_sharer, kMaxSharers);
  const int64_t first_head = row * p.num_heads + blockIdx.y * p.sharers + first_sharer;
  const int warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;

  extern __shared__ float4 shared[];
  const int stride = row_stride(p.head_dim);
  const SuffixTiles tiles(reinterpret_cast<float*>(shared), stride);
  const int64_t num_keys = p.suffix_len[row];
  const int64_t base = (p.row_slot[row] * p.num_kv_heads + blockIdx.y) * p.suffix_size * p.head_dim;
  const auto copy_tile = [&](int64_t key) {
    if (key < num_keys) {
      const int64_t at = base + key * p.head_dim;
      copy_keys(tiles.k(key), p.suffix_k + at, num_keys - key, p);
      copy_keys(tiles.v(key), p.suffix_v + at, num_keys - key, p);
    }
    __pipeline_commit();
  };
  for (int head = threadIdx.x / kCopyLanes; head < num_heads; head += kThreads / kCopyLanes) {
    copy_row(tiles.q + head * stride, p.q + (first_head + head) * p.head_dim, true, p);
  }
  copy_tile(0);

  Query<kColumns> queries[kHeadsPerWarp];
#pragma unroll
  for (int i = 0; i < kHeadsPerWarp; ++i) {
    if (warp + i * kWarps >= num_heads) break;
    for (int split = 0; split < p.splits; ++split) {
      const int64_t head = split * p.num_rows * p.num_heads + first_head + warp + i * kWarps;
      queries[i].join(state + head * p.head_dim, lse[head], lane, p);
    }
  }
  for (int64_t key = 0; key < num_keys; key += kTileKeys) {
    copy_tile(key + kTileKeys);
    __pipeline_wait_prior(1);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kHeadsPerWarp; ++i) {
      const int head = warp + i * kWarps;
      if (head >= num_heads) break;
      queries[i].attend(tiles.q + head * stride, tiles.k(key), tiles.v(key),
                        tiles.weights + warp * kTileKeys, num_keys - key, lane, p);
    }
    __syncthreads();  // nobody reads this tile any more
  }
#pragma unroll
  for (int i = 0; i < kHeadsPerWarp; ++i) {
    const int head = warp + i * kWarps;
    if (head >= num_heads) break;
    queries[i].write(out + (first_head + head) * p.head_dim, lane, p);
  }
}

}  // namespace t2
