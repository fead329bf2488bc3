// C++ backend of t2engine/ops/prefill_attention.py.
#include <vector>

#include "attention.h"
#include "ops.h"

namespace t2::T2_ISA {
namespace {

// Consecutive queries of one prompt and one key head.
struct Block {
  int64_t group, kv_head, first, count;
};

struct Prefill {
  Tensor<float, 3> out;
  Tensor<const float, 3> q, k, v;
  Tensor<const int64_t, 1> query_bounds;
  Tensor<const int64_t, 2> key_bounds;
  float scale;
  int64_t head_dim = q.size(2);
  int64_t sharers = q.size(1) / k.size(0);
  int64_t row_stride = q.size(1) * head_dim;
  QueryLayout layout{sharers, row_stride, head_dim};

  // Late queries see the most keys: their blocks come first, so that the last tasks are short.
  std::vector<Block> blocks() const {
    const int64_t rows = std::max<int64_t>(1, kBlockQueries / sharers);
    std::vector<Block> all;
    for (int64_t group = 0; group < key_bounds.size(0); ++group) {
      const int64_t begin = query_bounds.data[group], end = query_bounds.data[group + 1];
      for (int64_t first = begin + (end - begin - 1) / rows * rows; first >= begin; first -= rows) {
        for (int64_t kv_head = 0; kv_head < k.size(0); ++kv_head) {
          if (first < end) all.push_back({group, kv_head, first, std::min(rows, end - first)});
        }
      }
    }
    return all;
  }

  // The block's first query sees this many keys, and each after it one more.
  int64_t keys_of_first(const Block& block) const {
    const int64_t num_keys =
        key_bounds.data[2 * block.group + 1] - key_bounds.data[2 * block.group];
    return num_keys - (query_bounds.data[block.group + 1] - block.first) + 1;
  }
  int64_t flops(const Block& block) const {
    const int64_t pairs = block.count * keys_of_first(block) + block.count * (block.count - 1) / 2;
    return 4 * sharers * head_dim * pairs;
  }

  void attend_block(const Block& block) const {
    const int64_t queries = block.count * sharers, strips = (queries + kStrip - 1) / kStrip;
    const int64_t packed_floats = head_dim * kStrip, state_floats = State::floats(head_dim);
    Scratch scratch(strips * (packed_floats + state_floats) + kKeyBlock * kStrip);
    float* packed = scratch.take(strips * packed_floats);
    float* states = scratch.take(strips * state_floats);
    float* scores = scratch.take(kKeyBlock * kStrip);
    const int64_t first_query = block.first * row_stride + block.kv_head * sharers * head_dim;
    for (int64_t strip = 0; strip < strips; ++strip) {
      pack_strip(q.data + first_query, layout, strip * kStrip, queries, scale,
                 packed + strip * packed_floats);
      State(states + strip * state_floats, head_dim).clear(head_dim);
    }

    const int64_t first_key = key_bounds.data[2 * block.group];
    const int64_t store = (block.kv_head * k.size(1) + first_key) * head_dim;
    const int64_t seen_by_first = keys_of_first(block);
    for (int64_t key = 0; key < seen_by_first + block.count - 1; key += kKeyBlock) {
      for (int64_t strip = 0; strip < strips; ++strip) {
        float visible[kStrip];
        int64_t least = kKeyBlock, most = 0;
        for (int64_t lane = 0; lane < kStrip; ++lane) {
          const int64_t query = std::min(strip * kStrip + lane, queries - 1);
          const int64_t seen = seen_by_first + query / sharers - key;
          least = std::min(least, seen);
          most = std::max(most, seen);
          visible[lane] = static_cast<float>(seen);
        }
        if (most <= 0) continue;
        const int64_t count = std::min(kKeyBlock, most);
        const int64_t lanes = std::min(kStrip, queries - strip * kStrip);
        attend(packed + strip * packed_floats, k.data + store + key * head_dim,
               v.data + store + key * head_dim, count, head_dim, least < count ? visible : nullptr,
               State(states + strip * state_floats, head_dim), scores,
               static_cast<int>((lanes + kWidth - 1) / kWidth));
      }
    }
    for (int64_t strip = 0; strip < strips; ++strip) {
      const State state(states + strip * state_floats, head_dim);
      float factor[kStrip];
      for (int64_t lane = 0; lane < kStrip; ++lane) factor[lane] = 1 / state.sum[lane];
      unpack_strip(state, head_dim, factor, strip * kStrip, queries,
                   [&](int64_t query, int64_t d, int64_t dims, Floats values) {
                     store_up_to(out.data + first_query + layout(query) + d, dims, values);
                   });
    }
  }
};

}  // namespace

void prefill_attention(Tensor<float, 3> out, Tensor<const float, 3> q, Tensor<const float, 3> k,
                       Tensor<const float, 3> v, Tensor<const int64_t, 1> query_bounds,
                       Tensor<const int64_t, 2> key_bounds, float scale, int num_threads) {
  const Prefill prefill{out, q, k, v, query_bounds, key_bounds, scale};
  const std::vector<Block> blocks = prefill.blocks();
  int64_t flops = 0;
  for (const Block& block : blocks) flops += prefill.flops(block);
  const int threads = flops < kFlopsWorthAThread ? 1 : num_threads;
  parallel_for(threads, static_cast<int64_t>(blocks.size()),
               [&](int64_t task) { prefill.attend_block(blocks[task]); });
}

}  // namespace t2::T2_ISA
