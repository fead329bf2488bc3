// C++ backend of t2engine/ops/tree_attention.py.
#include <atomic>
#include <vector>

#include "ops.h"
#include "row_attention.h"
#include "tree_plan.h"

namespace t2::T2_ISA {
namespace {

// Some chunks of a block's prefix for one key head, or some of its rows' own keys.
struct Task {
  int64_t share;  // an index of Decode::shares
  bool own;       // first and end are rows, else chunks
  int64_t first, end;
};

// A block with one key head: where its states begin, and the tasks left to do of it.
struct Share {
  const Block* block;
  int64_t kv_head;
  float* states;             // of one task after another [tasks, num_strips, State::floats]
  float *own_top, *own_sum;  // [num_strips, kStrip]
  int64_t states_each, num_states, tasks;
};

struct Decode {
  Tensor<float, 3> out;
  Tensor<const float, 3> q;
  VectorStore<3> prefix_k, prefix_v;
  VectorStore<4> suffix_k, suffix_v;
  Tensor<const int64_t, 1> row_slot, suffix_len;
  float scale;
  const TreePlan& plan;

  int64_t head_dim = q.size(2);
  int64_t num_kv_heads = prefix_k.size(0);
  int64_t sharers = q.size(1) / num_kv_heads;
  int64_t row_stride = q.size(1) * head_dim;
  std::vector<Share> shares{};
  std::vector<Task> tasks{};

  int64_t first_query(int64_t row, int64_t kv_head) const {
    return row * row_stride + kv_head * sharers * head_dim;
  }
  Strips strips(int64_t num_rows, float* packed, float* states) const {
    return {num_rows * sharers, sharers, head_dim, row_stride, packed, states};
  }
  Strips strips(const Run& run, float* packed, float* states) const {
    return strips(run.num_rows, packed, states + run.first_strip * State::floats(head_dim));
  }
  int64_t flops(int64_t pairs) const { return 4 * sharers * head_dim * pairs; }
  int64_t suffix_pairs() const {
    return std::accumulate(suffix_len.data, suffix_len.data + q.size(0), int64_t{0});
  }

  // Returns the floats that all states take.
  int64_t make_tasks() {
    int64_t floats = 0;
    const int64_t pairs = suffix_pairs() * num_kv_heads;
    const int64_t grain = std::max(ceil_div(pairs, kSuffixTasks), kSuffixFlops / flops(1) + 1);
    for (const Block& block : plan.blocks) {
      for (int64_t kv_head = 0; kv_head < num_kv_heads; ++kv_head) {
        Share share{&block, kv_head, nullptr, nullptr, nullptr, 0, 0, 0};
        const auto index = static_cast<int64_t>(shares.size()), before = int64_t(tasks.size());
        const int64_t step = block.split ? 1 : block.num_chunks;
        for (int64_t chunk = 0; chunk < block.num_chunks; chunk += step) {
          tasks.push_back({index, false, chunk, chunk + step});
        }
        share.num_states = static_cast<int64_t>(tasks.size()) - before;
        share.states_each = block.num_strips * State::floats(head_dim);
        floats += share.num_states * share.states_each + 2 * block.num_strips * kStrip;
        const int64_t stop = block.first_row + block.num_rows;
        for (int64_t row = block.first_row, end; row < stop; row = end) {
          int64_t sum = suffix_len.data[row];
          for (end = row + 1; end < stop && sum < grain; ++end) sum += suffix_len.data[end];
          tasks.push_back({index, true, row, end});
        }
        share.tasks = static_cast<int64_t>(tasks.size()) - before;
        shares.push_back(share);
      }
    }
    return floats;
  }

  void place(Scratch& scratch) {
    for (Share& share : shares) {
      share.states = scratch.take(share.num_states * share.states_each);
      share.own_top = scratch.take(share.block->num_strips * kStrip);
      share.own_sum = scratch.take(share.block->num_strips * kStrip);
    }
  }

  // The states of one chunk, from nothing.
  void attend_chunk(const Share& share, int64_t chunk, float* states, float* local, float* packed,
                    const Workspace& work) const {
    const Block& block = *share.block;
    for (const Run& run : block.runs) strips(run, packed, states).clear();
    for (const Part& part : block.parts) {
      const int64_t begin = std::max(part.position, chunk * kChunk);
      const int64_t end = std::min(part.position + part.num_keys, (chunk + 1) * kChunk);
      if (begin >= end) continue;
      const Run* runs = &block.runs[part.first_run];
      const bool shared = part.num_runs > 1;  // its rows' lanes are put together, and back after
      const Strips some =
          shared ? strips(part.num_rows, packed, local) : strips(runs[0], packed, states);
      some.pack(q.data + first_query(part.first_row, share.kv_head), scale);
      for (int64_t i = 0; shared && i < part.num_runs; ++i) {
        const int64_t lane = (runs[i].first_row - part.first_row) * sharers;
        strips(runs[i], packed, states).copy_lanes(0, some, lane, runs[i].num_rows * sharers);
      }
      const int64_t at = share.kv_head * prefix_k.size(1) + part.column + begin - part.position;
      some.attend({prefix_k, at}, {prefix_v, at}, end - begin, nullptr, work);
      for (int64_t i = 0; shared && i < part.num_runs; ++i) {
        const int64_t lane = (runs[i].first_row - part.first_row) * sharers;
        some.copy_lanes(lane, strips(runs[i], packed, states), 0, runs[i].num_rows * sharers);
      }
    }
  }

  void join_all(const Share& share, float* into, float* from) const {
    for (int64_t strip = 0; strip < share.block->num_strips; ++strip) {
      const int64_t at = strip * State::floats(head_dim);
      join(State(into + at, head_dim), State(from + at, head_dim), head_dim);
    }
  }

  void attend_prefix(const Share& share, const Task& task) const {
    const bool joins = task.end - task.first > 1;
    const int64_t strips = share.block->num_strips;
    const int64_t packed_floats = strips * head_dim * kStrip;
    Scratch scratch(packed_floats + (1 + joins) * share.states_each + Workspace::floats(head_dim));
    float* packed = scratch.take(packed_floats);
    float* local = scratch.take(share.states_each);
    float* next = scratch.take(joins * share.states_each);
    const Workspace work(scratch, head_dim);
    float* states = share.states + (share.block->split ? task.first * share.states_each : 0);
    attend_chunk(share, task.first, states, local, packed, work);
    for (int64_t chunk = task.first + 1; chunk < task.end; ++chunk) {
      attend_chunk(share, chunk, next, local, packed, work);
      join_all(share, states, next);
    }
  }

  // The rows' own keys: out, not divided by its sum yet, and beside it the tops and sums.
  void attend_own(const Share& share, const Task& task) const {
    Scratch scratch(RowAttention::scratch(sharers, head_dim));
    const RowAttention attend_row(sharers, head_dim, scale, scratch);
    const auto first_key = [&](int64_t row) {
      return (row_slot.data[row] * num_kv_heads + share.kv_head) * suffix_k.size(2);
    };
    for (const Run& run : share.block->runs) {
      const int64_t begin = std::max(run.first_row, task.first);
      const int64_t stop = std::min(run.first_row + run.num_rows, task.end);
      float* top = share.own_top + run.first_strip * kStrip - run.first_row * sharers;
      float* sum = share.own_sum + run.first_strip * kStrip - run.first_row * sharers;
      for (int64_t row = begin; row < stop; ++row) {
        const int64_t at = first_key(row), place = first_query(row, share.kv_head);
        const OwnKeys own{{suffix_k, at}, {suffix_v, at}, suffix_len.data[row]};
        const Vectors next(suffix_k, first_key(row + 1 < task.end ? row + 1 : row));
        attend_row(q.data + place, own, next, out.data + place, top + row * sharers,
                   sum + row * sharers);
      }
    }
  }

  // Joins the states of all chunks with the rows' own part, and writes.
  void finish(const Share& share) const {
    for (int64_t i = 1; i < share.num_states; ++i) {
      join_all(share, share.states, share.states + i * share.states_each);
    }
    for (const Run& run : share.block->runs) {
      const Strips prefix = strips(run, nullptr, share.states);
      const int64_t lane = run.first_strip * kStrip, lanes = prefix.count() * kStrip;
      std::fill(share.own_top + lane + prefix.queries, share.own_top + lane + lanes, kNothing);
      std::fill(share.own_sum + lane + prefix.queries, share.own_sum + lane + lanes, 0.0f);
      for (int64_t strip = 0; strip < prefix.count(); ++strip) {
        const int64_t at = lane + strip * kStrip;
        write(prefix, strip, share.own_top + at, share.own_sum + at,
              out.data + first_query(run.first_row, share.kv_head));
      }
    }
  }

  // to: the run's first query, where the rows' own part already is; its tops and sums.
  void write(const Strips& prefix, int64_t strip, const float* own_top, const float* own_sum,
             float* to) const {
    const State state = prefix.state(strip);
    float prefix_factor[kStrip], own_factor[kStrip];
    for (int64_t lane = 0; lane < kStrip; lane += kWidth) {
      const Join joined(load(state.top + lane), load(own_top + lane));
      // No keys at all: a sum of 0, and out = 0. Any key makes it about 1 or more, or nan.
      const Floats sum = max(broadcast(std::numeric_limits<float>::min()),
                             joined(load(state.sum + lane), load(own_sum + lane)));
      store(prefix_factor + lane, div(joined.weight_a, sum));
      store(own_factor + lane, div(joined.weight_b, sum));
    }
    prefix.unpack(strip, prefix_factor, [&](int64_t query, int64_t d, int64_t dims, Floats values) {
      float* place = to + prefix.offset(query) + d;
      const Floats own = load_up_to(place, dims);
      const Floats factor = broadcast(own_factor[query % kStrip]);
      store_up_to(place, dims, add(values, mul(factor, own)));
    });
  }
};

}  // namespace

void tree_attention(Tensor<float, 3> out, Tensor<const float, 3> q, VectorStore<3> prefix_k,
                    VectorStore<3> prefix_v, Tensor<const int64_t, 2> segment_columns,
                    Tensor<const int64_t, 2> segment_rows, VectorStore<4> suffix_k,
                    VectorStore<4> suffix_v, Tensor<const int64_t, 1> row_slot,
                    Tensor<const int64_t, 1> suffix_len, float scale, int num_threads) {
  const int64_t num_kv_heads = prefix_k.size(0);
  const TreePlan plan(q.size(0), q.size(1) / num_kv_heads, num_kv_heads, segment_columns,
                      segment_rows);
  Decode decode{out, q, prefix_k, prefix_v, suffix_k, suffix_v, row_slot, suffix_len, scale, plan};
  Scratch scratch(decode.make_tasks());
  decode.place(scratch);
  std::vector<std::atomic<int64_t>> left(decode.shares.size());
  for (size_t i = 0; i < left.size(); ++i) left[i] = decode.shares[i].tasks;
  const int64_t pairs = plan.prefix_pairs + decode.suffix_pairs();
  const int threads = num_kv_heads * decode.flops(pairs) < kFlopsWorthAThread ? 1 : num_threads;
  parallel_for(threads, static_cast<int64_t>(decode.tasks.size()), [&](int64_t i) {
    const Task& task = decode.tasks[i];
    const Share& share = decode.shares[task.share];
    if (task.own) {
      decode.attend_own(share, task);
    } else {
      decode.attend_prefix(share, task);
    }
    if (left[task.share].fetch_sub(1) == 1) decode.finish(share);
  });
}

}  // namespace t2::T2_ISA
