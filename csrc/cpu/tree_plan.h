// How a decode step over a tree of segments is cut into tasks: by the shape of the work alone.
//
// A row's prefix is walked in chunks of kChunk keys, counted from the prefix's start, each from a
// fresh state, and the chunks' states are joined in order. Inside a chunk the keys come in blocks
// that begin at multiples of kKeyBlock. So a row meets the same blocks, and the same joins,
// whatever segments its prefix is made of and whoever shares them.
#pragma once

#include <numeric>
#include <stdexcept>
#include <vector>

#include "strips.h"

namespace t2::T2_ISA {

constexpr int64_t kChunk = 1024;
constexpr int64_t kEnoughTasks = 8;   // of prefixes
constexpr int64_t kSuffixTasks = 16;  // at most, where they are worth their start
constexpr int64_t kSuffixFlops = 200'000;

// Consecutive rows that have every segment in common: their queries begin at a strip of their own.
struct Run {
  int64_t first_row, num_rows, first_strip;
};

// What a block sees of a segment: the keys from `column` of the store on, of which the first is the
// rows' key number `position`; and whole runs of the block.
struct Part {
  int64_t column, position, num_keys;
  int64_t first_run, num_runs, first_row, num_rows;
};

// Rows that one task walks a chunk for, all with one key head.
struct Block {
  int64_t first_row, num_rows;
  std::vector<Run> runs{};
  std::vector<Part> parts{};
  int64_t num_strips = 0, num_chunks = 1;
  int64_t pairs = 0;   // of a row and a key of its prefix
  bool split = false;  // whether every chunk is a task
};

class TreePlan {
 public:
  std::vector<Block> blocks{};
  int64_t prefix_pairs = 0;

  // Throws invalid_argument when rows of a segment have seen different numbers of keys before it,
  // or a number that is no multiple of kKeyBlock.
  TreePlan(int64_t num_rows, int64_t sharers, int64_t num_kv_heads,
           Tensor<const int64_t, 2> columns, Tensor<const int64_t, 2> rows)
      : sharers_(sharers), cuts_(num_rows + 1), inside_(num_rows + 1), seen_(num_rows) {
    const int64_t longest = place(columns, rows);
    make_blocks(num_rows, block_rows(num_rows, num_kv_heads, ceil_div(longest, kChunk)));
    for (int64_t m = 0; m < columns.size(0); ++m) {
      add_parts(columns.data[2 * m], columns.data[2 * m + 1], positions_[m], rows.data + 2 * m);
    }
    for (Block& block : blocks) prefix_pairs += block.pairs;
    for (Block& block : blocks) {
      block.split = block.pairs * kEnoughTasks > prefix_pairs * num_kv_heads;
    }
  }

 private:
  // Where every segment stands in its rows' prefixes, and between which rows one begins or ends
  // (cuts_) or goes on (inside_). Returns the length of the longest prefix.
  int64_t place(Tensor<const int64_t, 2> columns, Tensor<const int64_t, 2> rows) {
    int64_t longest = 0;
    for (int64_t m = 0; m < columns.size(0); ++m) {
      const int64_t num_keys = columns.data[2 * m + 1] - columns.data[2 * m];
      const int64_t first = rows.data[2 * m], end = rows.data[2 * m + 1];
      positions_.push_back(0);
      if (num_keys == 0 || first == end) continue;
      const int64_t position = positions_.back() = seen_[first];
      for (int64_t row = first; row < end; ++row) {
        if (seen_[row] != position || position % kKeyBlock != 0) {
          throw std::invalid_argument(
              "tree_attention: segment_columns must give every segment but a row's last a multiple "
              "of 128 columns, and segment_rows must nest");
        }
        seen_[row] = position + num_keys;
        if (row > first) inside_[row] = true;
      }
      cuts_[first] = cuts_[end] = true;
      longest = std::max(longest, position + num_keys);
    }
    return longest;
  }

  // Rows that fill their strips.
  int64_t unit() const { return kStrip / std::gcd(kStrip, sharers_); }

  // Of a block: as many as kBlockQueries allows and kEnoughTasks leaves.
  int64_t block_rows(int64_t num_rows, int64_t num_kv_heads, int64_t num_chunks) const {
    const int64_t most = std::max<int64_t>(1, kBlockQueries / (unit() * sharers_));
    const int64_t units = ceil_div(num_rows, unit()) * num_kv_heads * num_chunks;
    return unit() * std::clamp<int64_t>(units / kEnoughTasks, 1, most);
  }

  // Trees of more than `most` rows are cut evenly, smaller ones put together.
  void make_blocks(int64_t num_rows, int64_t most) {
    for (int64_t first = 0, end; first < num_rows; first = end) {
      for (end = first + 1; end < num_rows && inside_[end];) ++end;
      const int64_t tree = end - first;
      if (tree > most) {
        const int64_t step = ceil_div(ceil_div(tree, ceil_div(tree, most)), unit()) * unit();
        for (int64_t row = first; row < end; row += step) add_block(row, std::min(row + step, end));
      } else if (blocks.empty() || end - blocks.back().first_row > most) {
        add_block(first, end);
      } else {
        blocks.back().num_rows += tree;
      }
    }
    for (Block& block : blocks) make_runs(block);
  }
  void add_block(int64_t first, int64_t end) { blocks.push_back({first, end - first}); }

  void make_runs(Block& block) {
    const int64_t stop = block.first_row + block.num_rows;
    for (int64_t first = block.first_row, end; first < stop; first = end) {
      for (end = first + 1; end < stop && !cuts_[end];) ++end;
      block.runs.push_back({first, end - first, block.num_strips});
      block.num_strips += ceil_div((end - first) * sharers_, kStrip);
      block.num_chunks = std::max(block.num_chunks, ceil_div(seen_[first], kChunk));
    }
  }

  // rows: the segment's first and the one after its last.
  void add_parts(int64_t begin, int64_t end, int64_t position, const int64_t* rows) {
    if (begin == end || rows[0] == rows[1]) return;
    const auto after = [](int64_t row, const Block& block) { return row < block.first_row; };
    auto block = std::upper_bound(blocks.begin(), blocks.end(), rows[0], after) - 1;
    for (; block != blocks.end() && block->first_row < rows[1]; ++block) {
      Part part{begin, position, end - begin, 0, 0, 0, 0};
      for (const Run& run : block->runs) {
        if (run.first_row < rows[0]) ++part.first_run;
        if (run.first_row < rows[0] || run.first_row >= rows[1]) continue;
        if (part.num_runs++ == 0) part.first_row = run.first_row;
        part.num_rows += run.num_rows;
      }
      block->pairs += part.num_rows * part.num_keys;
      block->parts.push_back(part);
    }
  }

  int64_t sharers_;
  std::vector<char> cuts_, inside_;
  std::vector<int64_t> seen_;  // keys of every row's prefix so far
  std::vector<int64_t> positions_{};
};

}  // namespace t2::T2_ISA
