// The prefix part of slab_attention.cu in float32: the queries of all rows and sharers of one kv
// head are the rows of one matrix product with a segment's keys.
#pragma once

#include "fma_tile.h"

namespace t2 {

constexpr int kTileRows = 64;   // queries of a tile
constexpr int kGroupLanes = 8;  // lanes that own kGroupRows queries together
constexpr int kGroupRows = kTileRows / (kThreads / kGroupLanes);
constexpr int kLaneKeys = kTileKeys / kGroupLanes;
constexpr int kWeightStride = kTileKeys + 4;  // spreads the groups of a warp over the banks

// The shared memory of a block.
struct PrefixTiles {
  float* q;        // [kTileRows, stride]
  float* k;        // [kTileKeys, stride]
  float* v;        // [kTileKeys, stride]
  float* weights;  // [kTileRows, kWeightStride]

  __device__ PrefixTiles(float* shared, int stride)
      : q(shared),
        k(q + kTileRows * stride),
        v(k + kTileKeys * stride),
        weights(v + kTileKeys * stride) {}

  static size_t bytes(int stride) {
    return sizeof(float) * ((kTileRows + 2 * kTileKeys) * stride + kTileRows * kWeightStride);
  }
};

// What a group of 8 lanes has of its 4 queries. Lane l owns keys l, l + 8, ... of a tile, and
// columns 4 l, 4 (l + 8), ... (and the three after each) of the outputs.
template <int kColumns>
struct Group {
  int lane = threadIdx.x % kGroupLanes;
  int row = threadIdx.x / kGroupLanes * kGroupRows;
  float top[kGroupRows];        // largest score, of the whole group
  float mass[kGroupRows] = {};  // sum of weights, of this lane's keys
  float4 acc[kGroupRows][kColumns] = {};

  __device__ Group() {
    for (float& t : top) t = -FLT_MAX;  // finite, for -inf - -inf would be nan
  }

  // One tile's scores, made weights under the new largest score and left in shared memory.
  __device__ void weigh(const PrefixTiles& tiles, int num_keys, const Floats& p) {
    const int stride = row_stride(p.head_dim);
    float scores[kGroupRows][kLaneKeys] = {};
    for (int d = 0; d < p.head_dim; d += 4) {
      float4 keys[kLaneKeys];
#pragma unroll
      for (int j = 0; j < kLaneKeys; ++j) {
        keys[j] = load4(tiles.k + (lane + j * kGroupLanes) * stride + d);
      }
#pragma unroll
      for (int i = 0; i < kGroupRows; ++i) {
        const float4 query = load4(tiles.q + (row + i) * stride + d);
#pragma unroll
        for (int j = 0; j < kLaneKeys; ++j) scores[i][j] = dot4(query, keys[j], scores[i][j]);
      }
    }
#pragma unroll
    for (int i = 0; i < kGroupRows; ++i) {
      float new_top = top[i];
#pragma unroll
      for (int j = 0; j < kLaneKeys; ++j) {
        const bool there = lane + j * kGroupLanes < num_keys;
        scores[i][j] = there ? scores[i][j] * p.scale : -INFINITY;
        new_top = fmaxf(new_top, scores[i][j]);
      }
      new_top = max_of_lanes<kGroupLanes>(new_top);
      const float decay = exp2f(top[i] - new_top);
      top[i] = new_top;
      mass[i] *= decay;
#pragma unroll
      for (int c = 0; c < kColumns; ++c) acc[i][c] = scaled(acc[i][c], decay);
#pragma unroll
      for (int j = 0; j < kLaneKeys; ++j) {
        const float weight = exp2f(scores[i][j] - new_top);
        mass[i] += weight;
        tiles.weights[(row + i) * kWeightStride + lane + j * kGroupLanes] = weight;
      }
    }
  }

  // acc += weights @ v. Keys that are not there have weight 0 and zeros in v.
  __device__ void add_values(const PrefixTiles& tiles, const Floats& p) {
    const int stride = row_stride(p.head_dim);
#pragma unroll 4
    for (int key = 0; key < kTileKeys; ++key) {
      float weights[kGroupRows];
#pragma unroll
      for (int i = 0; i < kGroupRows; ++i) {
        weights[i] = tiles.weights[(row + i) * kWeightStride + key];
      }
#pragma unroll
      for (int c = 0; c < kColumns; ++c) {
        const int column = 4 * (lane + c * kGroupLanes);
        if (column >= p.head_dim) continue;
        const float4 value = load4(tiles.v + key * stride + column);
#pragma unroll
        for (int i = 0; i < kGroupRows; ++i) {
          acc[i][c] = add_scaled(acc[i][c], weights[i], value);
        }
      }
    }
  }

  // state: [head_dim] and lse: one float, of query i.
  __device__ void write(int i, float* state, float* lse, float total, const Floats& p) const {
    if (lane == 0) *lse = top[i] * kLn2 + logf(total);  // log 0 is -inf: no keys
    const float factor = total == 0 ? 0.0f : 1 / total;
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const int column = 4 * (lane + c * kGroupLanes);
      if (column < p.head_dim) write_columns(state, column, scaled(acc[i][c], factor), p);
    }
  }
};

// Starts the copy of a tile by the whole block. Keys past num_keys become zeros.
// to: [kTileKeys, row_stride]; from: [num_keys, head_dim], num_keys > 0 and possibly past the tile.
__device__ inline void copy_keys(float* to, const float* from, int num_keys, const Floats& p) {
  const int stride = row_stride(p.head_dim);
  for (int key = threadIdx.x / kCopyLanes; key < kTileKeys; key += kThreads / kCopyLanes) {
    const bool there = key < num_keys;
    copy_row(to + key * stride, there ? from + int64_t(key) * p.head_dim : from, there, p);
  }
}

// One block owns an item: up to kTileRows queries of one kv head against one split of the keys.
// Grid: items, kv heads.
template <int kColumns>  // float4 columns of a lane: 32 kColumns >= head_dim
__global__ void __launch_bounds__(kThreads) fma_prefix_kernel(const Floats p) {
  const Item item = item_at(p, blockIdx.x);
  const int kv_head = blockIdx.y;
  extern __shared__ float4 shared[];
  const int stride = row_stride(p.head_dim);
  const PrefixTiles tiles(reinterpret_cast<float*>(shared), stride);
  const float* const queries = queries_of(p, item, kv_head);
  for (int row = threadIdx.x / kCopyLanes; row < kTileRows; row += kThreads / kCopyLanes) {
    const bool there = item.query + row < item.queries;
    const float* from = there ? queries + int64_t(item.query + row) * p.head_dim : p.q;
    copy_row(tiles.q + row * stride, from, there, p);
  }

  const int64_t base = kv_head * p.prefix_size * p.head_dim;
  const auto copy = [&](float* to, const float* from, int key) {
    copy_keys(to, from + base + int64_t(key) * p.head_dim, item.stop - key, p);
  };
  Group<kColumns> group;
  copy(tiles.k, p.prefix_k, item.start);
  __pipeline_commit();
  for (int key = item.start; key < item.stop; key += kTileKeys) {
    copy(tiles.v, p.prefix_v, key);
    __pipeline_commit();
    __pipeline_wait_prior(1);  // the keys have arrived; the values are still coming
    __syncthreads();
    group.weigh(tiles, item.stop - key, p);
    __pipeline_wait_prior(0);
    __syncthreads();  // the values have arrived, and nobody reads the keys any more
    if (key + kTileKeys < item.stop) copy(tiles.k, p.prefix_k, key + kTileKeys);
    __pipeline_commit();
    group.add_values(tiles, p);
    __syncthreads();  // nobody reads the values any more
  }

#pragma unroll
  for (int i = 0; i < kGroupRows; ++i) {
    const float total = sum_of_lanes<kGroupLanes>(group.mass[i]);
    const int query = item.query + group.row + i;
    if (query >= item.queries) continue;
    const int64_t state = state_of(p, item, kv_head, query);
    group.write(i, p.state + state * p.head_dim, p.lse + state, total, p);
  }
}

}  // namespace t2
