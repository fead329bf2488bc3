// The prefix part of shared_prefix_attention.cu: the queries of all rows and sharers of one kv head
// are the rows of one matrix product with a prompt's keys.
#pragma once

#include "attention_tile.h"

namespace t2 {

constexpr int kTileRows = 64;   // queries of a tile
constexpr int kGroupLanes = 8;  // lanes that own kGroupRows queries together
constexpr int kGroupRows = kTileRows / (kThreads / kGroupLanes);
constexpr int kLaneKeys = kTileKeys / kGroupLanes;
constexpr int kWeightStride = kTileKeys + 4;  // spreads the groups of a warp over the banks

// The tiles of all prompts form one list, laid out without asking the device for row_bounds. This
// never gives a prompt too few tiles; a tile past its prompt's rows ends at once.
__host__ __device__ inline int64_t first_tile(int64_t packed_rows_before, int64_t prompt) {
  return (packed_rows_before + prompt * (kTileRows - 1)) / kTileRows;
}

// The last prompt whose first tile is not past this one.
__device__ inline int64_t prompt_of_tile(const Problem& p, int64_t tile) {
  int64_t low = 0, high = p.num_prompts;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (first_tile(p.row_bounds[middle] * p.sharers, middle) <= tile ? low : high) = middle;
  }
  return low;
}

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
  __device__ void weigh(const PrefixTiles& tiles, int64_t num_keys, const Problem& p) {
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
  __device__ void add_values(const PrefixTiles& tiles, const Problem& p) {
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
  __device__ void write(int i, float* state, float* lse, float total, const Problem& p) const {
    if (lane == 0) *lse = top[i] * kLn2 + logf(total);  // log 0 is -inf: no keys
    const float factor = total == 0 ? 0.0f : 1 / total;
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const int column = 4 * (lane + c * kGroupLanes);
      if (column < p.head_dim) write_columns(state, column, scaled(acc[i][c], factor), p);
    }
  }
};

// One block owns kTileRows queries of one prompt and kv head, against one split of the prompt's
// keys. Grid: tiles of all prompts, kv heads, splits.
// state: [splits, num_rows, num_heads, head_dim]; lse: [splits, num_rows, num_heads], natural log.
template <int kColumns>  // float4 columns of a lane: 32 kColumns >= head_dim
__global__ void __launch_bounds__(kThreads)
    prefix_kernel(float* __restrict__ state, float* __restrict__ lse, const Problem p) {
  const int64_t prompt = prompt_of_tile(p, blockIdx.x);
  const int64_t first_row = p.row_bounds[prompt];
  const int64_t packed_rows = (p.row_bounds[prompt + 1] - first_row) * p.sharers;
  const int64_t first = (blockIdx.x - first_tile(first_row * p.sharers, prompt)) * kTileRows;
  if (first >= packed_rows) return;

  // A query of this kv head, as a row of [num_rows * num_heads].
  const auto head_at = [&](int64_t packed) {
    return (first_row + packed / p.sharers) * p.num_heads + int64_t(blockIdx.y) * p.sharers +
           packed % p.sharers;
  };
  extern __shared__ float4 shared[];
  const int stride = row_stride(p.head_dim);
  const PrefixTiles tiles(reinterpret_cast<float*>(shared), stride);
  for (int row = threadIdx.x / kCopyLanes; row < kTileRows; row += kThreads / kCopyLanes) {
    const bool there = first + row < packed_rows;
    const float* from = there ? p.q + head_at(first + row) * p.head_dim : p.q;
    copy_row(tiles.q + row * stride, from, there, p);
  }

  const int64_t first_key = p.prefix_bounds[2 * prompt];
  const int64_t num_keys = p.prefix_bounds[2 * prompt + 1] - first_key;
  const int64_t split_keys =
      (num_keys + p.splits * kTileKeys - 1) / (p.splits * kTileKeys) * kTileKeys;
  const int64_t start = blockIdx.z * split_keys;
  const int64_t stop = min(start + split_keys, num_keys);
  const int64_t base = (blockIdx.y * p.prefix_size + first_key) * p.head_dim;

  Group<kColumns> group;
  if (start < stop) copy_keys(tiles.k, p.prefix_k + base + start * p.head_dim, stop - start, p);
  __pipeline_commit();
  for (int64_t key = start; key < stop; key += kTileKeys) {
    copy_keys(tiles.v, p.prefix_v + base + key * p.head_dim, stop - key, p);
    __pipeline_commit();
    __pipeline_wait_prior(1);  // the keys have arrived; the values are still coming
    __syncthreads();
    group.weigh(tiles, stop - key, p);
    __pipeline_wait_prior(0);
    __syncthreads();  // the values have arrived, and nobody reads the keys any more
    const int64_t next = key + kTileKeys;
    if (next < stop) copy_keys(tiles.k, p.prefix_k + base + next * p.head_dim, stop - next, p);
    __pipeline_commit();
    group.add_values(tiles, p);
    __syncthreads();  // nobody reads the values any more
  }

#pragma unroll
  for (int i = 0; i < kGroupRows; ++i) {
    const float total = sum_of_lanes<kGroupLanes>(group.mass[i]);
    const int64_t packed = first + group.row + i;
    if (packed >= packed_rows) continue;
    const int64_t head = blockIdx.z * p.num_rows * p.num_heads + head_at(packed);
    group.write(i, state + head * p.head_dim, lse + head, total, p);
  }
}

}  // namespace t2
