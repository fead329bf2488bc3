// A call of slab_attention.cu as its kernels see it: the tensors, the items of work, and the keys
// that a row has to itself.
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>

namespace t2 {

constexpr float kLog2E = 1.4426950408889634f;  // scores are kept in base 2: its exp is cheapest
constexpr float kLn2 = 0.6931471805599453f;
constexpr int kWarpSize = 32;

// Plan tensors: t2engine/ops/_attention_plan.py.
template <typename T>
struct Problem {
  const T* q;                 // [num_kv_heads, num_rows, sharers, head_dim]
  const T* prefix_k;          // [num_kv_heads, prefix_size, head_dim]
  const T* prefix_v;          // [num_kv_heads, prefix_size, head_dim]
  const int32_t* items;       // [num_items, 6]
  const int32_t* row_states;  // [num_rows + 1]
  const int32_t* row_spans;   // [num_rows + 1]
  const int32_t* spans;       // [row_spans[num_rows], 2]
  float* state;               // [row_states[num_rows], num_kv_heads, sharers, head_dim]
  float* lse;                 // [row_states[num_rows], num_kv_heads, sharers], natural log
  const T* slab_k;            // [chunks, num_kv_heads, slab_steps, head_dim]
  const T* slab_v;            // [chunks, num_kv_heads, slab_steps, head_dim]
  const int64_t* row_chunk;   // [ring, num_rows]
  const int64_t* first;       // [num_rows]
  const int64_t* last;        // [num_rows]
  T* out;                     // [num_rows, num_kv_heads, sharers, head_dim]
  int64_t num_rows, num_items, prefix_size;
  uint32_t slab_steps, ring;
  int num_kv_heads, sharers, head_dim;
  float scale;   // to base 2
  bool aligned;  // every row of head_dim starts at a multiple of 16 bytes
};

// A tile of a segment's queries against a split of its keys.
struct Item {
  int first_row, queries, query, start, stop, state;
};

template <typename T>
__device__ inline Item item_at(const Problem<T>& p, int64_t index) {
  const int32_t* const item = p.items + 6 * index;
  return {item[0], item[1], item[2], item[3], item[4], item[5]};
}

// A segment's queries lie together in q.
template <typename T>
__device__ inline const T* queries_of(const Problem<T>& p, const Item& item, int kv_head) {
  return p.q + (kv_head * p.num_rows + item.first_row) * p.sharers * p.head_dim;
}

// The state that an item leaves for a query of its segment, as a row of lse.
template <typename T>
__device__ inline int64_t state_of(const Problem<T>& p, const Item& item, int kv_head, int query) {
  const int64_t state = p.row_states[item.first_row + query / p.sharers] + item.state;
  return (state * p.num_kv_heads + kv_head) * p.sharers + query % p.sharers;
}

// The keys of a row that no state has, counted from 0: its spans of the prefix one after another,
// then its own, the oldest first.
template <typename T>
struct RowKeys {
  const int64_t row;
  const int kv_head;
  const int first_span, end_span;
  const uint32_t first_step;
  int count;

  struct Place {
    const T* k;
    const T* v;
  };

  __device__ RowKeys(const Problem<T>& p, int64_t row, int kv_head)
      : row(row),
        kv_head(kv_head),
        first_span(p.row_spans[row]),
        end_span(p.row_spans[row + 1]),
        first_step(uint32_t(p.first[row])),
        count(int(max(p.last[row] - p.first[row] + 1, int64_t(0)))) {
    for (int i = first_span; i < end_span; ++i) count += p.spans[2 * i + 1] - p.spans[2 * i];
  }

  __device__ Place at(int key, const Problem<T>& p) const {
    for (int i = first_span; i < end_span; ++i) {
      const int start = p.spans[2 * i], length = p.spans[2 * i + 1] - start;
      if (key < length) {
        const int64_t at = (kv_head * p.prefix_size + start + key) * p.head_dim;
        return {p.prefix_k + at, p.prefix_v + at};
      }
      key -= length;
    }
    const uint32_t step = first_step + uint32_t(key), block = step / p.slab_steps;
    const int64_t chunk = p.row_chunk[int64_t(block % p.ring) * p.num_rows + row];
    const int64_t column = step - block * p.slab_steps;
    const int64_t at =
        ((chunk * p.num_kv_heads + kv_head) * p.slab_steps + column) * int64_t(p.head_dim);
    return {p.slab_k + at, p.slab_v + at};
  }
};

template <int kLanes>  // neighbouring lanes of a warp, a power of two
__device__ inline float max_of_lanes(float x) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, step));
  return x;
}

template <int kLanes>
__device__ inline float sum_of_lanes(float x) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) x += __shfl_xor_sync(~0u, x, step);
  return x;
}

}  // namespace t2
