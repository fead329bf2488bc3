// One row of logits, read in blocks.
//
// A token's weight is 2^((logit - top of its block) log2(e) / temperature), and a block of tokens
// weighs 2^((its top - top of the row) log2(e) / temperature): both are at most 1, and one pass
// over the logits finds them.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "sampling.h"
#include "vector_math.h"

namespace t2::T2_ISA {

constexpr int64_t kBlock = kSampleBlock;
constexpr float kLargest = std::numeric_limits<float>::max();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct SampledRow {
  const float* logits;
  int64_t vocab_size;
  int64_t blocks;
  float temperature;
  float scale;     // log2(e) / temperature
  float* tops;     // [blocks] the highest logit of each
  float* sums;     // [blocks] of the weights, next to their own top
  float* factors;  // [blocks] what a block's weights count for in the row
  float* weights;  // [blocks, kBlock], next to their block's top; only where there are filters
  float top;       // the highest logit
  float floor;     // the least logit that may be drawn
};

inline int64_t whole_lanes(int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }
inline float next_above(float x) { return std::nextafter(x, kInfinity); }

// The logits of a block, with -inf past the end of the row.
inline const float* block_of(const SampledRow& row, int64_t block, float (&padded)[kBlock]) {
  const float* from = row.logits + block * kBlock;
  const int64_t count = row.vocab_size - block * kBlock;
  if (count >= kBlock) return from;
  std::fill(std::copy(from, from + count, padded), padded + kBlock, -kInfinity);
  return padded;
}

inline Lanes lane_tops(const float* logits) {
  Lanes top = load_lanes(logits);
  for (int64_t i = kLanes; i < kBlock; i += kLanes) top = max(top, load_lanes(logits + i));
  return top;
}

// Calls keep(i, weights of tokens i to i + 15) for a block of logits. Relative error below 2e-7, by
// a minimax polynomial on [-1/2, 1/2]; those below 2^-125 come out as some number below 2^-124,
// and nan as nan.
template <typename Keep>
void weigh(const SampledRow& row, const float* logits, float block_top, Keep keep) {
  const Floats scale = broadcast(row.scale), shift = broadcast(kShift);
  const Floats lowest = broadcast(-125.0f / row.scale);
  const Floats top = broadcast(std::max(-kLargest, block_top));  // -inf - -inf would be nan
  for (int64_t i = 0; i < kBlock; i += kLanes) {
    Lanes weights;
    for (int part = 0; part < kParts; ++part) {
      const Floats x = max(lowest, sub(load(logits + i + part * kWidth), top));
      const Floats shifted = fma(x, scale, shift);
      const Floats rest = fma(x, scale, sub(shift, shifted));
      Floats p = broadcast(1.32647273e-3f);
      p = fma(p, rest, broadcast(9.67151299e-3f));
      p = fma(p, rest, broadcast(5.55073358e-2f));
      p = fma(p, rest, broadcast(2.40222424e-1f));
      p = fma(p, rest, broadcast(6.93147004e-1f));
      p = fma(p, rest, broadcast(1.0f));
      weights.part[part] = scale_by_low_bits(p, shifted);
    }
    keep(i, weights);
  }
}

// Finds top, factors and floor: nothing below 2^-119 of the top is drawn. A row with a logit of nan
// or +inf, or none above -inf, has no distribution.
inline void finish_tops(SampledRow& row, bool tainted) {
  std::fill(row.tops + row.blocks, row.tops + whole_lanes(row.blocks), -kInfinity);
  row.top = -kInfinity;
  for (int64_t i = 0; i < row.blocks; i += kLanes) {
    row.top = std::max(row.top, reduce_max(load_lanes(row.tops + i)));
  }
  if (tainted || row.top == -kInfinity) {
    throw std::invalid_argument(
        std::string("sample_tokens: logits must be finite for a token, and -inf for others, got ") +
        (tainted ? "nan or inf" : "only -inf"));
  }
  row.floor = std::max(-kLargest, row.top - 83.0f * row.temperature);
  const Lanes top = broadcast_lanes(row.top), scale = broadcast_lanes(row.scale);
  for (int64_t i = 0; i < row.blocks; i += kLanes) {
    store_lanes(row.factors + i, exp2(mul(sub(load_lanes(row.tops + i), top), scale)));
  }
}

// tops and sums, in one pass. A nan or +inf makes its block's sum nan.
inline void weigh_all(SampledRow& row) {
  float padded[kBlock];
  float taint = 0;
  for (int64_t block = 0; block < row.blocks; ++block) {
    const float* logits = block_of(row, block, padded);
    row.tops[block] = reduce_max(lane_tops(logits));
    Lanes sum = broadcast_lanes(0.0f);
    weigh(row, logits, row.tops[block], [&](int64_t, Lanes weight) { sum = add(sum, weight); });
    row.sums[block] = reduce_add(sum);
    taint += row.sums[block];
  }
  finish_tops(row, std::isnan(taint));
}

// tops, and into groups [blocks, kLanes] those of every sixteen tokens. Adding 0 times every logit
// gives nan after a nan or +inf, and 0 otherwise.
inline void find_tops(SampledRow& row, float* groups) {
  const Lanes zero = broadcast_lanes(0.0f), lowest = broadcast_lanes(-kLargest);
  float padded[kBlock];
  Lanes taint = zero;
  for (int64_t block = 0; block < row.blocks; ++block) {
    const float* logits = block_of(row, block, padded);
    for (int64_t i = 0; i < kBlock; i += kLanes) {
      taint = fma(max(lowest, load_lanes(logits + i)), zero, taint);
    }
    const Lanes top = lane_tops(logits);
    row.tops[block] = reduce_max(top);
    if (groups != nullptr) store_lanes(groups + block * kLanes, top);
  }
  finish_tops(row, std::isnan(reduce_add(taint)));
}

// Calls body(block, its logits) for the blocks that hold a logit of at least `limit`.
template <typename Body>
void for_each_block(const SampledRow& row, float limit, Body body) {
  float padded[kBlock];
  for (int64_t block = 0; block < row.blocks; ++block) {
    if (row.tops[block] >= limit) body(block, block_of(row, block, padded));
  }
}

// Calls body(token) for those with logits in [low, high), in order of id.
template <typename Body>
void for_each_between(const SampledRow& row, float low, float high, Body body) {
  const Lanes from = broadcast_lanes(low), to = broadcast_lanes(high);
  for_each_block(row, low, [&](int64_t block, const float* logits) {
    for (int64_t i = 0; i < kBlock; i += kLanes) {
      const Lanes x = load_lanes(logits + i);
      for (uint32_t rest = at_least(x, from) & ~at_least(x, to); rest != 0; rest &= rest - 1) {
        body(block * kBlock + i + __builtin_ctz(rest));
      }
    }
  });
}

}  // namespace t2::T2_ISA
