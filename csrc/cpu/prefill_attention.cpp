// C++ backend of t2engine/ops/prefill_attention.py.
#include <vector>

#include "ops.h"
#include "strips.h"

namespace t2::T2_ISA {
namespace {

// Consecutive queries of one prompt and one key head.
struct Block {
  int64_t group, kv_head, first_row, num_rows;
};

struct Prefill {
  Tensor<float, 3> out;
  Tensor<const float, 3> q;
  VectorStore<3> k, v;
  Tensor<const int64_t, 1> query_bounds;
  Tensor<const int64_t, 2> spans;
  Tensor<const int64_t, 1> span_bounds;
  float scale;

  int64_t head_dim = q.size(2);
  int64_t sharers = q.size(1) / k.size(0);

  // Late queries see the most keys: their blocks come first, so that the last tasks are short.
  std::vector<Block> blocks() const {
    const int64_t rows = std::max<int64_t>(1, kBlockQueries / sharers);
    std::vector<Block> all;
    for (int64_t group = 0; group + 1 < query_bounds.size(0); ++group) {
      const int64_t begin = query_bounds.data[group], end = query_bounds.data[group + 1];
      for (int64_t i = ceil_div(end - begin, rows) - 1; i >= 0; --i) {
        const int64_t first = begin + i * rows;
        for (int64_t kv_head = 0; kv_head < k.size(0); ++kv_head) {
          all.push_back({group, kv_head, first, std::min(rows, end - first)});
        }
      }
    }
    return all;
  }

  Causal causal(const Block& block) const {
    int64_t num_keys = 0;
    for (int64_t i = span_bounds.data[block.group]; i < span_bounds.data[block.group + 1]; ++i) {
      num_keys += spans.data[2 * i + 1] - spans.data[2 * i];
    }
    const int64_t queries_left = query_bounds.data[block.group + 1] - block.first_row;
    return {num_keys - queries_left + 1, sharers};
  }

  int64_t flops(const Block& block) const {
    const int64_t seen_by_first = causal(block).seen_by_first;
    const int64_t pairs =
        block.num_rows * seen_by_first + block.num_rows * (block.num_rows - 1) / 2;
    return 4 * sharers * head_dim * pairs;
  }

  void attend(const Block& block) const {
    const int64_t row_stride = q.size(1) * head_dim;
    Strips strips{block.num_rows * sharers, sharers, head_dim, row_stride, nullptr, nullptr};
    Scratch scratch(strips.packed_floats() + strips.state_floats() + Workspace::floats(head_dim));
    strips.packed = scratch.take(strips.packed_floats());
    strips.states = scratch.take(strips.state_floats());
    const int64_t first_query = block.first_row * row_stride + block.kv_head * sharers * head_dim;
    strips.pack(q.data + first_query, scale);
    strips.clear();

    // Spans, but the last, are whole blocks of keys: a query meets the blocks of one long span.
    const Workspace work(scratch, head_dim);
    Causal seen = causal(block);
    for (int64_t i = span_bounds.data[block.group]; i < span_bounds.data[block.group + 1]; ++i) {
      const int64_t start = spans.data[2 * i], stop = spans.data[2 * i + 1];
      const int64_t at = block.kv_head * k.size(1) + start;
      strips.attend({k, at}, {v, at}, stop - start, &seen, work);
      seen.seen_by_first -= stop - start;
    }

    for (int64_t strip = 0; strip < strips.count(); ++strip) {
      float factor[kStrip];
      for (int64_t lane = 0; lane < kStrip; ++lane)
        factor[lane] = 1 / strips.state(strip).sum[lane];
      strips.unpack(strip, factor, [&](int64_t query, int64_t d, int64_t dims, Floats values) {
        store_up_to(out.data + first_query + strips.offset(query) + d, dims, values);
      });
    }
  }
};

}  // namespace

void prefill_attention(Tensor<float, 3> out, Tensor<const float, 3> q, VectorStore<3> k,
                       VectorStore<3> v, Tensor<const int64_t, 1> query_bounds,
                       Tensor<const int64_t, 2> spans, Tensor<const int64_t, 1> span_bounds,
                       float scale, int num_threads) {
  const Prefill prefill{out, q, k, v, query_bounds, spans, span_bounds, scale};
  const std::vector<Block> blocks = prefill.blocks();
  int64_t flops = 0;
  for (const Block& block : blocks) flops += prefill.flops(block);
  const int threads = flops < kFlopsWorthAThread ? 1 : num_threads;
  parallel_for(threads, static_cast<int64_t>(blocks.size()),
               [&](int64_t task) { prefill.attend(blocks[task]); });
}

}  // namespace t2::T2_ISA
