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

// Some rows of one prompt and one key head, and the tasks that walk its prefix.
struct Block {
  int64_t group, kv_head, first_row, num_rows;
  int64_t first_task, num_tasks;
};

// Some chunks of a block's prefix. Their states are at `state` among all states.
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
  int64_t row_stride = q.size(1) * head_dim;
  std::vector<Block> blocks{};
  std::vector<Task> tasks{};
  int64_t states_floats = 0;  // of all tasks

  int64_t prefix_len(int64_t group) const {
    return prefix_bounds.data[2 * group + 1] - prefix_bounds.data[2 * group];
  }
  int64_t chunk_len(int64_t group) const {
    const int64_t least = ceil_div(prefix_len(group), kMaxChunks);
    return std::max(kChunk, ceil_div(least, kKeyBlock) * kKeyBlock);
  }
  int64_t first_query(const Block& block) const {
    return block.first_row * row_stride + block.kv_head * sharers * head_dim;
  }
  int64_t first_suffix_key(int64_t row, int64_t kv_head) const {
    return (row_slot.data[row] * num_kv_heads + kv_head) * suffix_k.size(2) * head_dim;
  }
  Strips strips(const Block& block, float* packed, float* states) const {
    return {block.num_rows * sharers, sharers, head_dim, row_stride, packed, states};
  }

  int64_t flops() const {
    int64_t pairs =
        std::accumulate(suffix_len.data, suffix_len.data + suffix_len.size(0), int64_t{0});
    for (int64_t group = 0; group < prefix_bounds.size(0); ++group) {
      pairs += (row_bounds.data[group + 1] - row_bounds.data[group]) * prefix_len(group);
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
        const int64_t end = std::min(chunks, chunk + step);
        tasks.push_back({static_cast<int64_t>(b), chunk, end, states_floats});
        states_floats += strips(block, nullptr, nullptr).state_floats();
      }
      block.num_tasks = static_cast<int64_t>(tasks.size()) - block.first_task;
    }
  }

  void join_all(const Block& block, float* into, float* from) const {
    const Strips to = strips(block, nullptr, into), other = strips(block, nullptr, from);
    for (int64_t strip = 0; strip < to.count(); ++strip) {
      join(to.state(strip), other.state(strip), head_dim);
    }
  }

  void attend_chunk(const Block& block, int64_t chunk, const Strips& strips, float* scores) const {
    strips.clear();
    const int64_t begin = prefix_bounds.data[2 * block.group] + chunk * chunk_len(block.group);
    const int64_t end =
        std::min(begin + chunk_len(block.group), prefix_bounds.data[2 * block.group + 1]);
    const int64_t at = (block.kv_head * prefix_k.size(1) + begin) * head_dim;
    strips.attend(prefix_k.data + at, prefix_v.data + at, end - begin, nullptr, scores);
  }

  void attend_prefix(const Task& task, float* states) const {
    const Block& block = blocks[task.block];
    Strips total = strips(block, nullptr, states);
    const bool joins = task.end_chunk - task.first_chunk > 1;
    Scratch scratch(total.packed_floats() + kKeyBlock * kStrip + joins * total.state_floats());
    total.packed = scratch.take(total.packed_floats());
    float* scores = scratch.take(kKeyBlock * kStrip);
    total.pack(q.data + first_query(block), scale);
    attend_chunk(block, task.first_chunk, total, scores);
    Strips next = total;
    next.states = scratch.take(joins * total.state_floats());
    for (int64_t chunk = task.first_chunk + 1; chunk < task.end_chunk; ++chunk) {
      attend_chunk(block, chunk, next, scores);
      join_all(block, total.states, next.states);
    }
  }

  // The rows' own keys, joined to the prefix's states and written.
  void finish(const Block& block, float* states) const {
    const Strips prefix = strips(block, nullptr, states);
    const int64_t queries = prefix.queries, lanes = prefix.count() * kStrip;
    Scratch scratch(2 * lanes + RowAttention::scratch(sharers, head_dim));
    float* top = scratch.take(lanes);
    float* sum = scratch.take(lanes);
    const RowAttention attend_row(sharers, head_dim, scale, scratch);
    for (int64_t i = 0; i < block.num_rows; ++i) {
      const int64_t row = block.first_row + i;
      const int64_t at = first_suffix_key(row, block.kv_head);
      const OwnKeys own{suffix_k.data + at, suffix_v.data + at, suffix_len.data[row]};
      const int64_t row_after = i + 1 < block.num_rows ? row + 1 : row;
      const int64_t place = first_query(block) + i * row_stride;
      attend_row(q.data + place, own, suffix_k.data + first_suffix_key(row_after, block.kv_head),
                 out.data + place, top + i * sharers, sum + i * sharers);
    }
    std::fill(top + queries, top + lanes, kNothing);
    std::fill(sum + queries, sum + lanes, 0.0f);
    for (int64_t strip = 0; strip < prefix.count(); ++strip) {
      write(prefix, strip, top + strip * kStrip, sum + strip * kStrip,
            out.data + first_query(block));
    }
  }

  // to: the block's first query, where the rows' own part already is; its tops and sums.
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
  std::vector<std::atomic<int64_t>> left(decode.blocks.size());  // tasks of each block
  for (size_t b = 0; b < left.size(); ++b) left[b] = decode.blocks[b].num_tasks;
  const int threads = decode.flops() < kFlopsWorthAThread ? 1 : num_threads;
  parallel_for(threads, static_cast<int64_t>(decode.tasks.size()), [&](int64_t i) {
    const Task& task = decode.tasks[i];
    const Block& block = decode.blocks[task.block];
    decode.attend_prefix(task, states + task.state);
    if (left[task.block].fetch_sub(1) > 1) return;
    float* first = states + decode.tasks[block.first_task].state;
    for (int64_t t = block.first_task + 1; t < block.first_task + block.num_tasks; ++t) {
      decode.join_all(block, first, states + decode.tasks[t].state);
    }
    decode.finish(block, first);
  });
}

}  // namespace t2::T2_ISA
