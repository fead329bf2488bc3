// The filters of a row of logits: min_p, top_k and top_p, without a sort.
//
// All three keep a head of the order by falling logit, so each is a cut of that order: a radix
// select over the logits' keys finds it. What is summed on the way (tokens, or weights in fixed
// point) is integer, so neither the order of atomics nor the batch changes a bit.
#pragma once

#include <climits>

#include "sample_locate.h"

namespace t2 {

constexpr int kBins = 256;
constexpr int kLevels = 5;       // each but the first takes 8 of a key's 32 bits
constexpr double kOne = 0x1p44;  // a weight of 1 in fixed point: 2^19 of them fit 63 bits
constexpr float kFloor = 83.0f;  // nothing below exp(-83) of the most probable is drawn

// Keys in which the cut lies, and what tokens above them, and in them, measure.
struct Range {
  uint32_t low, high;
  uint64_t above, inside;
};

struct FilterScratch {
  uint32_t low[kBins], high[kBins];  // halves of the sums of 64 bits
  uint64_t warp_sums[kSampleWarps];
  Range range;
  float limit;
  int last;
};

// Atomics on shared memory have 32 bits: exactly one of them sees a sum wrap.
__device__ inline void add_to_bin(FilterScratch& scratch, int bin, uint64_t measure) {
  const auto low = uint32_t(measure);
  const uint32_t before = atomicAdd(&scratch.low[bin], low);
  const uint32_t high = uint32_t(measure >> 32) + (before + low < before ? 1u : 0u);
  if (high != 0) atomicAdd(&scratch.high[bin], high);
}

__device__ inline int bit_length(uint32_t x) { return 32 - __clz(int(x)); }

// The bin of a key of [low, high], bin 0 at its top. The first time bins are of equal width in
// logits, for keys crowd; then in keys, which ends.
template <typename T>
struct Digit {
  uint32_t high;
  int shift;
  bool by_logit;
  float top, scale;

  __device__ Digit(const Range& range, bool by_logit)
      : high(range.high),
        shift(max(0, bit_length(range.high - range.low) - 8)),
        by_logit(by_logit),
        top(logit_of<T>(range.high)),
        scale(fminf((kBins - 1) / (top - logit_of<T>(range.low)), FLT_MAX)) {}

  __device__ int of(uint32_t key) const {
    if (!by_logit) return int((high - key) >> shift);
    return int(fminf((top - logit_of<T>(key)) * scale, kBins - 1));  // nan becomes the last
  }

  // The smallest key from `low` whose bin is at most `bin`.
  __device__ uint32_t first_key(uint32_t low, int bin) const {
    uint32_t to = high;
    for (int step = 0; step < 32 && low < to; ++step) {
      const uint32_t middle = low + (to - low) / 2;
      if (of(middle) <= bin) {
        to = middle;
      } else {
        low = middle + 1;
      }
    }
    return to;
  }
};

// Narrows scratch.range to the bin with which the sum from the top reaches goal; to nothing but a
// sum when it is not reached. By one warp.
template <typename T>
__device__ void choose_bin(FilterScratch& scratch, Range range, const Digit<T>& digit,
                           uint64_t goal) {
  constexpr int kShare = kBins / kWarpLanes;
  const int lane = threadIdx.x % kWarpLanes;
  const auto sum_of = [&](int bin) { return uint64_t{scratch.high[bin]} << 32 | scratch.low[bin]; };
  uint64_t own = 0;
  for (int i = 0; i < kShare; ++i) own += sum_of(lane * kShare + i);
  const uint64_t through = range.above + sum_through_lane(own, lane);
  const unsigned reached = __ballot_sync(kAllLanes, through >= goal);
  if (reached == 0) {
    if (lane == kWarpLanes - 1) scratch.range = {range.low, range.high, 0, through};
    return;
  }
  if (lane != first_lane(reached)) return;
  uint64_t above = through - own;
  int bin = lane * kShare;
  while (bin < lane * kShare + kShare - 1 && above + sum_of(bin) < goal) above += sum_of(bin++);
  const uint32_t low = digit.first_key(range.low, bin);
  const uint32_t high = bin == 0 ? range.high : digit.first_key(range.low, bin - 1) - 1;
  scratch.range = {low, high, above, sum_of(bin)};
}

// What is summed to find a cut: 1 for a token, or its weight in fixed point.
template <typename Row>
struct Amount {
  const Row& row;
  bool weighed;

  __device__ uint64_t operator()(float logit) const {
    if (!weighed) return 1;
    return __double2ull_rn(weight_of(logit, row.top, row.scale) * kOne);
  }
};

// The smallest range of keys from `low` in which the sum of amount, over the tokens that `kept`
// keeps, from the top down reaches goal. By the whole block.
template <typename Row>
__device__ Range narrow(const Row& row, Cut kept, uint32_t low, uint64_t goal,
                        FilterScratch& scratch, const Amount<Row>& amount) {
  using T = typename Row::T;
  Range range{low, key_of(from_float<T>(row.top)), 0, 0};
#pragma unroll 1
  for (int level = 0; level < kLevels; ++level) {
    const Digit<T> digit(range, level == 0);
    for (int bin = threadIdx.x; bin < kBins; bin += kSampleThreads) {
      scratch.low[bin] = scratch.high[bin] = 0;
    }
    __syncthreads();
    for_each_tile(row, logit_of<T>(range.low), [&](int, const Tile<Row>& logits) {
#pragma unroll
      for (int i = 0; i < kTokensPerLane; ++i) {
        const uint32_t key = key_of(logits.at[i]);
        if (key < range.low || key > range.high || !kept.keeps(key, logits.token(i))) continue;
        add_to_bin(scratch, digit.of(key), amount(to_float(logits.at[i])));
      }
    });
    __syncthreads();
    if (threadIdx.x < kWarpLanes) choose_bin(scratch, range, digit, goal);
    __syncthreads();
    range = scratch.range;
    if (range.above + range.inside <= goal || range.low == range.high) break;
  }
  __syncthreads();  // every thread has read the range
  return range;
}

// Keeps the tokens before which the sum of amount, by falling logit and equal ones by id, is below
// goal. None below the key `low` is among them. By the whole block.
template <typename Row>
__device__ Cut cut(const Row& row, Cut kept, uint32_t low, uint64_t goal, FilterScratch& scratch,
                   const Amount<Row>& amount) {
  const Range range = narrow(row, kept, low, goal, scratch, amount);
  if (range.above + range.inside < goal) return kept;
  const Cut from{range.low, range.low == kept.key ? kept.last : INT_MAX};
  if (range.above + range.inside == goal) return from;
  const uint64_t one = amount(logit_of<typename Row::T>(range.low));
  const uint64_t wanted = (goal - range.above + one - 1) / one, found = range.inside / one;
  if (wanted >= found) return from;
  const Measure<Row> equals{row, from, range.low, true};
  sum_tiles(row, equals);
  if (threadIdx.x < kWarpLanes) {
    const int last = locate(row, (double(wanted) - 0.5) / double(found), equals).token;
    if (threadIdx.x == 0) scratch.last = last;
  }
  __syncthreads();
  return {range.low, scratch.last};
}

// The k-th highest top of a tile, k at most the number of tiles: k tokens reach it. By the block.
template <typename Row>
__device__ float kth_top(const Row& row, int64_t k, FilterScratch& scratch) {
  for (int tile = threadIdx.x; tile < row.tiles; tile += kSampleThreads) {
    const float top = row.tops[tile];
    int before = 0;
    for (int other = 0; other < row.tiles; ++other) {
      before += row.tops[other] > top || (row.tops[other] == top && other < tile);
    }
    if (before == k - 1) scratch.limit = top;
  }
  __syncthreads();
  return scratch.limit;
}

// The smallest key whose logit is at least `limit`.
template <typename T>
__device__ uint32_t key_from(float limit) {
  const T nearest = from_float<T>(limit);
  return key_of(nearest) + (to_float(nearest) < limit ? 1 : 0);
}

// The sum of amount over the tokens that `kept` keeps. By the whole block.
template <typename Row>
__device__ uint64_t sum_of(const Row& row, Cut kept, FilterScratch& scratch,
                           const Amount<Row>& amount) {
  uint64_t sum = 0;
  for_each_tile(row, logit_of<typename Row::T>(kept.key), [&](int, const Tile<Row>& logits) {
#pragma unroll
    for (int i = 0; i < kTokensPerLane; ++i) {
      const bool keeps = kept.keeps(key_of(logits.at[i]), logits.token(i));
      sum += keeps ? amount(to_float(logits.at[i])) : 0;
    }
  });
  sum = sum_of_warp(sum);
  if (threadIdx.x % kWarpLanes == 0) scratch.warp_sums[threadIdx.x / kWarpLanes] = sum;
  __syncthreads();
  uint64_t total = 0;
  for (int warp = 0; warp < kSampleWarps; ++warp) total += scratch.warp_sums[warp];
  return total;
}

struct Goal {
  uint64_t amount;
  float least;  // no logit below is kept
};

// Tokens that weigh less than half a vocab_size-th of what may be dropped weigh too little
// together: the cut does not lie among them.
template <typename Row>
__device__ Goal goal_of(const Row& row, float top_p, uint64_t total) {
  const double reached = ceil(double(top_p) * double(total));
  const uint64_t amount = reached >= 1 ? min(uint64_t(reached), total) : 1;
  const double least = 0.5 * double(total - amount) / row.vocab_size / kOne;
  return {amount, row.top + log2f(float(least)) / row.scale};
}

// What the filters of a row leave of its tokens. By the whole block; tops are found.
template <typename Row>
__device__ Cut filter(const Row& row, int64_t top_k, float top_p, float min_p,
                      FilterScratch& scratch) {
  float floor = fmaxf(-FLT_MAX, row.top - kFloor * row.temperature);
  if (min_p > 0) {
    const double least = row.temperature * log(double(fminf(min_p, 1.0f)));
    floor = fmaxf(floor, float(row.top + least));
  }
  Cut kept{key_from<typename Row::T>(floor), INT_MAX};
#pragma unroll 1
  for (int stage = 0; stage < 2; ++stage) {  // one instance of cut serves both
    const bool weighed = stage == 1;
    if (weighed ? !(top_p < 1) : !(0 < top_k && top_k < row.vocab_size)) continue;
    const Amount<Row> amount{row, weighed};
    Goal goal{uint64_t(top_k), -INFINITY};
    if (weighed) {
      goal = goal_of(row, top_p, sum_of(row, kept, scratch, amount));
    } else if (top_k <= row.tiles) {
      goal.least = kth_top(row, top_k, scratch);
    }
    const uint32_t low = max(kept.key, key_from<typename Row::T>(goal.least));
    kept = cut(row, kept, low, goal.amount, scratch, amount);
  }
  return kept;
}

}  // namespace t2
