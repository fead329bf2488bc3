// C++ backend of t2engine/ops/shared_prefix_attention.py.
#include <atomic>
#include <numeric>
#include <vector>

#include "attention.h"
#include "ops.h"
#include "row_attention.h"

namespace t2::T2_ISA {
namespace {

// A prefix is walked in at most kMaxChunks chunks of at least kChunk keys, each from a fresh state,
// and the states are joined in order: chunks can be tasks, and a row does not see who did them.
constexpr int64_t kChunk = 1024;
constexpr int64_t kMaxChunks = 8;
constexpr int64_t kEnoughTasks = 8;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Some rows of one prompt and one key head.
struct Block {
  int64_t group, kv_head, first_row, num_rows;
  int64_t first_task, num_tasks;
};

// Some chunks of a block's prefix; their state is at states + state.
struct Task {
  int64_t block, first_chunk, end_chunk, state;
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
  QueryLayout layout{sharers, q.size(1) * head_dim, head_dim};
  int64_t packed_floats = head_dim * kStrip;
  int64_t state_floats = State::floats(head_dim);

  std::vector<Block> blocks;
  std::vector<Task> tasks;
  int64_t states_floats = 0;

  int64_t strips(const Block& block) const { return ceil_div(block.num_rows * sharers, kStrip); }
  int64_t prefix_len(int64_t group) const {
    return prefix_bounds.data[2 * group + 1] - prefix_bounds.data[2 * group];
  }
  int64_t chunk_len(int64_t group) const {
    const int64_t fewest = ceil_div(prefix_len(group), kMaxChunks);
    return std::max(kChunk, ceil_div(fewest, kKeyBlock) * kKeyBlock);
  }

  int64_t suffix_at(int64_t row, int64_t kv_head) const {
    return (row_slot.data[row] * num_kv_heads + kv_head) * suffix_k.size(2) * head_dim;
  }

  int64_t flops() const {
    int64_t pairs =
        std::accumulate(suffix_len.data, suffix_len.data + suffix_len.size(0), int64_t{0});
    for (const Block& block : blocks) {
      if (block.kv_head == 0) pairs += block.num_rows * prefix_len(block.group);
    }
    return 4 * q.size(1) * head_dim * pairs;
  }

  // Blocks of whole strips where there are rows enough, as large as leaves kEnoughTasks of them.
  void make_blocks() {
    const int64_t unit = kStrip / std::gcd(kStrip, sharers);  // rows that fill their strips
    const int64_t most = std::max<int64_t>(1, kBlockQueries / (unit * sharers));
    const int64_t units = ceil_div(q.size(0), unit) * num_kv_heads;
    const int64_t rows = unit * std::clamp<int64_t>(units / kEnoughTasks, 1, most);
    for (int64_t group = 0; group < prefix_bounds.size(0); ++group) {
      const int64_t begin = row_bounds.data[group], end = row_bounds.data[group + 1];
      for (int64_t kv_head = 0; kv_head < num_kv_heads; ++kv_head) {
        for (int64_t first = begin; first < end; first += rows) {
          blocks.push_back({group, kv_head, first, std::min(rows, end - first), 0, 0});
        }
      }
    }
  }

  // A block's chunks are one task where there are blocks enough, else a task each.
  void make_tasks() {
    const bool split = static_cast<int64_t>(blocks.size()) < kEnoughTasks;
    for (size_t b = 0; b < blocks.size(); ++b) {
      Block& block = blocks[b];
      const int64_t chunks = ceil_div(prefix_len(block.group), chunk_len(block.group));
      const int64_t step = split ? 1 : std::max<int64_t>(1, chunks);
      block.first_task = static_cast<int64_t>(tasks.size());
      for (int64_t chunk = 0; chunk == 0 || chunk < chunks; chunk += step) {
        tasks.push_back(
            {static_cast<int64_t>(b), chunk, std::min(chunks, chunk + step), states_floats});
        states_floats += strips(block) * state_floats;
      }
      block.num_tasks = static_cast<int64_t>(tasks.size()) - block.first_task;
    }
  }

  void attend_chunk(const Block& block, int64_t chunk, const float* packed, float* states,
                    float* scores) const {
    const int64_t queries = block.num_rows * sharers;
    const int64_t begin = prefix_bounds.data[2 * block.group] + chunk * chunk_len(block.group);
    const int64_t end =
        std::min(begin + chunk_len(block.group), prefix_bounds.data[2 * block.group + 1]);
    for (int64_t key = begin; key < end; key += kKeyBlock) {
      const int64_t at = (block.kv_head * prefix_k.size(1) + key) * head_dim;
      for (int64_t strip = 0; strip < strips(block); ++strip) {
        const int64_t lanes = std::min(kStrip, queries - strip * kStrip);
        attend(packed + strip * packed_floats, prefix_k.data + at, prefix_v.data + at,
               std::min(kKeyBlock, end - key), head_dim, nullptr,
               State(states + strip * state_floats, head_dim), scores,
               static_cast<int>(ceil_div(lanes, kWidth)));
      }
    }
  }

  void clear(const Block& block, float* states) const {
    for (int64_t strip = 0; strip < strips(block); ++strip) {
      State(states + strip * state_floats, head_dim).clear(head_dim);
    }
  }
  void join_all(const Block& block, float* into, float* from) const {
    for (int64_t strip = 0; strip < strips(block); ++strip) {
      join(State(into + strip * state_floats, head_dim),
           State(from + strip * state_floats, head_dim), head_dim);
    }
  }

  void attend_prefix(const Task& task, float* states) const {
    const Block& block = blocks[task.block];
    const int64_t count = strips(block);
    const bool joins = task.end_chunk - task.first_chunk > 1;
    Scratch scratch(count * (packed_floats + joins * state_floats) + kKeyBlock * kStrip);
    float* scores = scratch.take(kKeyBlock * kStrip);
    float* packed = scratch.take(count * packed_floats);
    float* next = scratch.take(count * joins * state_floats);
    const int64_t first_query =
        block.first_row * layout.row_stride + block.kv_head * sharers * head_dim;
    for (int64_t strip = 0; strip < count; ++strip) {
      pack_strip(q.data + first_query, layout, strip * kStrip, block.num_rows * sharers, scale,
                 packed + strip * packed_floats);
    }
    clear(block, states);
    for (int64_t chunk = task.first_chunk; chunk < task.end_chunk; ++chunk) {
      float* to = chunk == task.first_chunk ? states : next;
      if (to == next) clear(block, next);
      attend_chunk(block, chunk, packed, to, scores);
      if (to == next) join_all(block, states, next);
    }
  }

  // The rows' own keys, joined to the prefix's state and written.
  void finish(const Block& block, float* states) const {
    const int64_t queries = block.num_rows * sharers, padded = strips(block) * kStrip;
    Scratch scratch(RowAttention::scratch(sharers, head_dim) + 2 * padded);
    float* top = scratch.take(padded);
    float* sum = scratch.take(padded);
    const RowAttention attend_row(sharers, head_dim, scale, scratch);
    const int64_t first = block.first_row * layout.row_stride + block.kv_head * sharers * head_dim;
    float* to = out.data + first;
    for (int64_t i = 0; i < block.num_rows; ++i) {
      const int64_t row = block.first_row + i;
      const int64_t at = suffix_at(row, block.kv_head);
      const OwnKeys own{suffix_k.data + at, suffix_v.data + at, suffix_len.data[row]};
      const int64_t row_after = i + 1 < block.num_rows ? row + 1 : row;
      attend_row(q.data + first + i * layout.row_stride, own,
                 suffix_k.data + suffix_at(row_after, block.kv_head), to + i * layout.row_stride,
                 top + i * sharers, sum + i * sharers);
    }
    std::fill(top + queries, top + padded, kNothing);
    std::fill(sum + queries, sum + padded, 0.0f);
    for (int64_t strip = 0; strip < strips(block); ++strip) {
      const State prefix(states + strip * state_floats, head_dim);
      float prefix_factor[kStrip], own_factor[kStrip];
      for (int64_t lane = 0; lane < kStrip; lane += kWidth) {
        const int64_t query = strip * kStrip + lane;
        const Join joined(load(prefix.top + lane), load(top + query));
        // A sum is 0 (no keys at all, and out = 0) or at least about 1.
        const Floats total = max(joined(load(prefix.sum + lane), load(sum + query)),
                                 broadcast(std::numeric_limits<float>::min()));
        store(prefix_factor + lane, div(joined.weight_a, total));
        store(own_factor + lane, div(joined.weight_b, total));
      }
      unpack_strip(prefix, head_dim, prefix_factor, strip * kStrip, queries,
                   [&](int64_t query, int64_t d, int64_t dims, Floats values) {
                     float* place = to + layout(query) + d;
                     const Floats own =
                         mul(broadcast(own_factor[query % kStrip]), load_up_to(place, dims));
                     store_up_to(place, dims, add(values, own));
                   });
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
  Decode decode{out,      q,        prefix_k, prefix_v,   prefix_bounds, row_bounds,
                suffix_k, suffix_v, row_slot, suffix_len, scale};
  decode.make_blocks();
  decode.make_tasks();
  Scratch scratch(decode.states_floats);
  float* states = scratch.take(decode.states_floats);
  std::vector<std::atomic<int64_t>> left(decode.blocks.size());
  for (size_t b = 0; b < left.size(); ++b) left[b] = decode.blocks[b].num_tasks;
  const int threads = decode.flops() < kFlopsWorthAThread ? 1 : num_threads;
  parallel_for(threads, static_cast<int64_t>(decode.tasks.size()), [&](int64_t i) {
    const Task& task = decode.tasks[i];
    const Block& block = decode.blocks[task.block];
    decode.attend_prefix(task, states + task.state);
    if (left[task.block].fetch_sub(1) > 1) return;
    float* first = states + decode.tasks[block.first_task].state;
    for (int64_t t = 1; t < block.num_tasks; ++t) {
      decode.join_all(block, first, states + decode.tasks[block.first_task + t].state);
    }
    decode.finish(block, first);
  });
}

}  // namespace t2::T2_ISA
