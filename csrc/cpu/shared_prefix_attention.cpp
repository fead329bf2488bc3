// C++ backend of t2engine/ops/shared_prefix_attention.py.
#include <vector>

#include "attention.h"
#include "gemm.h"
#include "ops.h"

namespace t2::T2_ISA {
namespace {

// Some rows of one prompt and one key head, and the state of its prefix.
struct Block {
  int64_t group, kv_head, first_row, num_rows;
};

struct Decode {
  Tensor<float, 3> out;
  Tensor<const float, 3> q, prefix_k, prefix_v;
  Tensor<const int64_t, 2> prefix_bounds;
  Tensor<const int64_t, 1> row_bounds;
  Tensor<const float, 4> suffix_k, suffix_v;
  Tensor<const int64_t, 1> row_slot, suffix_len;
  float scale;
  int64_t head_dim = q.size(2);
  int64_t num_kv_heads = prefix_k.size(0);
  int64_t sharers = q.size(1) / num_kv_heads;
  int64_t row_stride = q.size(1) * head_dim;

  std::vector<Block> blocks() const {
    std::vector<Block> all;
    for (int64_t group = 0; group < prefix_bounds.size(0); ++group) {
      const int64_t begin = row_bounds.data[group], end = row_bounds.data[group + 1];
      const int64_t rows = std::max<int64_t>(1, kBlockQueries / sharers);
      for (int64_t kv_head = 0; kv_head < num_kv_heads; ++kv_head) {
        for (int64_t first = begin; first < end; first += rows) {
          all.push_back({group, kv_head, first, std::min(rows, end - first)});
        }
      }
    }
    return all;
  }

  void attend_prefix(const Block& block, int64_t strips, float* packed, float* states,
                     float* scores) const {
    const int64_t queries = block.num_rows * sharers;
    for (int64_t strip = 0; strip < strips; ++strip) {
      State(states + strip * State::floats(head_dim), head_dim).clear(head_dim);
    }
    const int64_t begin = prefix_bounds.data[2 * block.group];
    const int64_t end = prefix_bounds.data[2 * block.group + 1];
    for (int64_t key = begin; key < end; key += kKeyBlock) {
      const int64_t at = (block.kv_head * prefix_k.size(1) + key) * head_dim;
      for (int64_t strip = 0; strip < strips; ++strip) {
        const int64_t lanes = std::min(kStrip, queries - strip * kStrip);
        attend(packed + strip * head_dim * kStrip, prefix_k.data + at, prefix_v.data + at,
               std::min(kKeyBlock, end - key), head_dim, nullptr,
               State(states + strip * State::floats(head_dim), head_dim), scores,
               static_cast<int>((lanes + kWidth - 1) / kWidth));
      }
    }
  }

  // The row's own keys, as one strip of its sharers; then joined to the prefix's state and written.
  void finish_row(const Block& block, int64_t row, const float* states, float* strip,
                  float* scores) const {
    const float* from = q.data + row * row_stride + block.kv_head * sharers * head_dim;
    float* to = out.data + (from - q.data);
    float* packed = strip;
    const State own(strip + head_dim * kStrip, head_dim);
    for (int64_t first = 0; first < sharers; first += kStrip) {
      const int64_t lanes = std::min(kStrip, sharers - first);
      pack_queries(from + first * head_dim, row_stride, lanes, lanes, head_dim, scale, packed);
      own.clear(head_dim);
      const int64_t slot = row_slot.data[row] * num_kv_heads + block.kv_head;
      for (int64_t key = 0; key < suffix_len.data[row]; key += kKeyBlock) {
        const int64_t at = (slot * suffix_k.size(2) + key) * head_dim;
        attend(packed, suffix_k.data + at, suffix_v.data + at,
               std::min(kKeyBlock, suffix_len.data[row] - key), head_dim, nullptr, own, scores,
               static_cast<int>((lanes + kWidth - 1) / kWidth));
      }
      for (int64_t sharer = 0; sharer < lanes; ++sharer) {
        const int64_t query = (row - block.first_row) * sharers + first + sharer;
        const int64_t lane = query % kStrip;
        float* data = const_cast<float*>(states) + query / kStrip * State::floats(head_dim);
        const State prefix(data, head_dim);
        const Join joined(broadcast(prefix.top[lane]), broadcast(own.top[sharer]));
        float weight_a[kWidth], weight_b[kWidth];
        store(weight_a, joined.weight_a);
        store(weight_b, joined.weight_b);
        const float sum = weight_a[0] * prefix.sum[lane] + weight_b[0] * own.sum[sharer];
        const float inverse = sum > 0 ? 1 / sum : 0;
        for (int64_t d = 0; d < head_dim; ++d) {
          to[(first + sharer) * head_dim + d] =
              inverse * (weight_a[0] * prefix.out[d * kStrip + lane] +
                         weight_b[0] * own.out[d * kStrip + sharer]);
        }
      }
    }
  }

  void attend_block(const Block& block) const {
    const int64_t queries = block.num_rows * sharers, strips = (queries + kStrip - 1) / kStrip;
    const int64_t packed_floats = head_dim * kStrip, state_floats = State::floats(head_dim);
    Scratch scratch((strips + 1) * (packed_floats + state_floats) + kKeyBlock * kStrip);
    float* packed = scratch.take(strips * packed_floats);
    float* states = scratch.take(strips * state_floats);
    float* own = scratch.take(packed_floats + state_floats);
    float* scores = scratch.take(kKeyBlock * kStrip);
    pack_queries(q.data + block.first_row * row_stride + block.kv_head * sharers * head_dim,
                 row_stride, sharers, queries, head_dim, scale, packed);
    attend_prefix(block, strips, packed, states, scores);
    for (int64_t row = block.first_row; row < block.first_row + block.num_rows; ++row) {
      finish_row(block, row, states, own, scores);
    }
  }
};

}  // namespace

void shared_prefix_attention(Tensor<float, 3> out, Tensor<const float, 3> q,
                             Tensor<const float, 3> prefix_k, Tensor<const float, 3> prefix_v,
                             Tensor<const int64_t, 2> prefix_bounds,
                             Tensor<const int64_t, 1> row_bounds, Tensor<const float, 4> suffix_k,
                             Tensor<const float, 4> suffix_v, Tensor<const int64_t, 1> row_slot,
                             Tensor<const int64_t, 1> suffix_len, float scale, int num_threads) {
  const Decode decode{out,      q,        prefix_k, prefix_v,   prefix_bounds, row_bounds,
                      suffix_k, suffix_v, row_slot, suffix_len, scale};
  const std::vector<Block> blocks = decode.blocks();
  parallel_for(num_threads, static_cast<int64_t>(blocks.size()),
               [&](int64_t task) { decode.attend_block(blocks[task]); });
}

}  // namespace t2::T2_ISA
