// The suffix part of slab_attention.cu in float32: the keys that a row has to itself, starting from
// the states that the prefix kernel left, so that merging them costs no launch of its own.
#pragma once

#include "fma_tile.h"

namespace t2 {

constexpr int kWarps = kThreads / kWarpSize;
constexpr int kMaxSharers = 8;  // query heads of one block

static_assert(kTileKeys == kWarpSize, "a lane owns one key of a tile");

// The shared memory of a block: a ring of tiles, so that some arrive while another is read.
template <int kStages>
struct SuffixTiles {
  float* q;        // [kMaxSharers, stride]
  float* keys;     // [kStages, kTileKeys, stride]
  float* values;   // [kStages, kTileKeys, stride]
  float* weights;  // [kWarps, kTileKeys]
  int stride;

  __device__ SuffixTiles(float* shared, int stride)
      : q(shared),
        keys(q + kMaxSharers * stride),
        values(keys + kStages * kTileKeys * stride),
        weights(values + kStages * kTileKeys * stride),
        stride(stride) {}

  __device__ float* k(int tile) const { return keys + tile % kStages * kTileKeys * stride; }
  __device__ float* v(int tile) const { return values + tile % kStages * kTileKeys * stride; }

  // Starts the copy of a tile by the whole block. Keys past the row's last become zeros.
  __device__ void copy(int tile, const RowKeys<float>& keys, const Floats& p) const {
#pragma unroll 1
    for (int i = threadIdx.x / kCopyLanes; i < kTileKeys; i += kThreads / kCopyLanes) {
      const bool there = tile * kTileKeys + i < keys.count;
      const auto from = there ? keys.at(tile * kTileKeys + i, p) : RowKeys<float>::Place{p.q, p.q};
      copy_row(k(tile) + i * stride, from.k, there, p);
      copy_row(v(tile) + i * stride, from.v, there, p);
    }
  }

  static size_t bytes(int stride) {
    return sizeof(float) * ((kMaxSharers + 2 * kStages * kTileKeys) * stride + kWarps * kTileKeys);
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
  __device__ void join(const float* state, float lse, int lane, const Floats& p) {
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
                         int num_keys, int lane, const Floats& p) {
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
  __device__ void write(float* out, int lane, const Floats& p) const {
    const float total = sum_of_lanes<kWarpSize>(mass);
    const float factor = total == 0 ? 0.0f : 1 / total;  // no keys at all: 0
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const int column = 4 * (lane + c * kWarpSize);
      if (column < p.head_dim) write_columns(out, column, scaled(acc[c], factor), p);
    }
  }
};

// Fewer tiles of a wide head fit.
template <int kColumns>
constexpr int kSuffixStages = kColumns == 1 ? 3 : 2;

// One block owns one row and up to kMaxSharers query heads of one kv head; warp w owns heads w,
// w + kWarps, ... of them. Grid: rows, kv heads, groups of kMaxSharers heads.
template <int kHeadsPerWarp, int kColumns>  // 128 kColumns >= head_dim
__global__ void __launch_bounds__(kThreads, 4) fma_suffix_kernel(const Floats p) {
  constexpr int kStages = kSuffixStages<kColumns>;
  const int first_sharer = blockIdx.z * kMaxSharers;
  const int num_heads = min(p.sharers - first_sharer, kMaxSharers);
  const int warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
  const int64_t row = blockIdx.x, kv_head = blockIdx.y;
  extern __shared__ float4 shared[];
  const int stride = row_stride(p.head_dim);
  const SuffixTiles<kStages> tiles(reinterpret_cast<float*>(shared), stride);

  const float* const q =
      p.q + ((kv_head * p.num_rows + row) * p.sharers + first_sharer) * p.head_dim;
  for (int head = threadIdx.x / kCopyLanes; head < num_heads; head += kThreads / kCopyLanes) {
    copy_row(tiles.q + head * stride, q + head * p.head_dim, true, p);
  }
  const RowKeys<float> keys(p, row, int(kv_head));
  const int num_tiles = (keys.count + kTileKeys - 1) / kTileKeys;
  const auto copy = [&](int tile) {
    if (tile < num_tiles) tiles.copy(tile, keys, p);
    __pipeline_commit();
  };
  for (int tile = 0; tile < kStages - 1; ++tile) copy(tile);

  Query<kColumns> queries[kHeadsPerWarp];
#pragma unroll
  for (int i = 0; i < kHeadsPerWarp; ++i) {
    const int head = warp + i * kWarps;
    if (head >= num_heads) break;
    for (int state = p.row_states[row]; state < p.row_states[row + 1]; ++state) {
      const int64_t at =
          (int64_t(state) * p.num_kv_heads + kv_head) * p.sharers + first_sharer + head;
      queries[i].join(p.state + at * p.head_dim, p.lse[at], lane, p);
    }
  }
  for (int tile = 0; tile < num_tiles; ++tile) {
    __pipeline_wait_prior(kStages - 2);
    __syncthreads();  // the tile has arrived, and nobody reads the one before it any more
    copy(tile + kStages - 1);
#pragma unroll
    for (int i = 0; i < kHeadsPerWarp; ++i) {
      const int head = warp + i * kWarps;
      if (head >= num_heads) break;
      queries[i].attend(tiles.q + head * stride, tiles.k(tile), tiles.v(tile),
                        tiles.weights + warp * kTileKeys, keys.count - tile * kTileKeys, lane, p);
    }
  }
  float* const out =
      p.out + ((row * p.num_kv_heads + kv_head) * p.sharers + first_sharer) * p.head_dim;
#pragma unroll
  for (int i = 0; i < kHeadsPerWarp; ++i) {
    const int head = warp + i * kWarps;
    if (head >= num_heads) break;
    queries[i].write(out + head * p.head_dim, lane, p);
  }
}

}  // namespace t2
