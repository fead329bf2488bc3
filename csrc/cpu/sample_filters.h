// The filters of a row of logits: min_p, top_k and top_p, without a sort.
//
// All three keep a head of the order by falling logit, so each is a cut of that order, found by
// narrowing a range of logits until few tokens are left to be sorted.
#pragma once

#include "sample_row.h"

namespace t2::T2_ISA {

constexpr int kProbes = 4;        // limits tried in one pass
constexpr int kFewTokens = 128;   // enough to sort them
constexpr int kMostListed = 512;  // far more than kFewTokens, which is an estimate where it matters

// Logits in [low, high) may be the cut. The measures are of all tokens from that logit up.
struct Range {
  float low;
  double low_measure;
  float high;
  double high_measure;
};

// How many of x [count] are at least each limit.
inline void count_from(const float* x, int64_t count, const float* limits, double* counts) {
  Lanes limit[kProbes];
  int64_t found[kProbes] = {};
  for (int j = 0; j < kProbes; ++j) limit[j] = broadcast_lanes(limits[j]);
  for (int64_t i = 0; i < count; i += kLanes) {
    const Lanes lanes = load_lanes(x + i);
    for (int j = 0; j < kProbes; ++j) found[j] += __builtin_popcount(at_least(lanes, limit[j]));
  }
  for (int j = 0; j < kProbes; ++j) counts[j] += static_cast<double>(found[j]);
}

// What the tokens with logits of at least each limit weigh; limits rise.
inline void mass_from(const SampledRow& row, const float* limits, double* masses) {
  Lanes limit[kProbes];
  for (int j = 0; j < kProbes; ++j) limit[j] = broadcast_lanes(limits[j]);
  for_each_block(row, limits[0], [&](int64_t block, const float* logits) {
    Lanes sum[kProbes];
    for (Lanes& probe : sum) probe = broadcast_lanes(0.0f);
    for (int64_t i = 0; i < kBlock; i += kLanes) {
      const Lanes x = load_lanes(logits + i), weight = load_lanes(row.weights + block * kBlock + i);
      for (int j = 0; j < kProbes; ++j) sum[j] = add(sum[j], where_at_least(x, limit[j], weight));
    }
    for (int j = 0; j < kProbes; ++j) masses[j] += double{reduce_add(sum[j])} * row.factors[block];
  });
}

// Narrows the range to the logit at which the measure reaches `goal`, until is_few(range) or all
// its logits are equal. measure(limits, out) adds to out what it finds.
template <typename IsFew, typename Measure>
inline void narrow(Range& range, double goal, IsFew is_few, Measure measure) {
  while (next_above(range.low) < range.high && !is_few(range)) {
    float limits[kProbes];
    double found[kProbes] = {};
    for (int j = 0; j < kProbes; ++j) {
      const double share = (j + 1) / (kProbes + 1.0);
      const double limit = range.low + (std::min(range.high, kLargest) - double{range.low}) * share;
      limits[j] = static_cast<float>(limit);
    }
    measure(limits, found);
    for (int j = 0; j < kProbes; ++j) {
      if (found[j] < goal) {
        range.high = limits[j];
        range.high_measure = found[j];
        break;
      }
      range.low = limits[j];
      range.low_measure = found[j];
    }
  }
}

// Walks the tokens by falling logit, equal ones by id, and keeps those before which the measure is
// below `goal`: raises the floor, and returns the last token kept at the floor if others there are
// not, else -1. measure_of(token) is what one adds.
template <typename MeasureOf>
inline int64_t cut(SampledRow& row, const Range& range, double goal, MeasureOf measure_of) {
  int64_t last = -1;
  bool dropped = false;
  double before = range.high_measure;
  row.floor = range.high;
  const auto walk = [&](int64_t token) {
    if (before < goal) {
      before += measure_of(token);
      last = token;
      row.floor = row.logits[token];
    } else {
      dropped |= row.logits[token] == row.floor;
    }
  };
  if (next_above(range.low) >= range.high) {
    for_each_between(row, range.low, range.high, walk);
    return dropped ? last : -1;
  }
  int64_t tokens[kMostListed], found = 0;
  for_each_between(row, range.low, range.high, [&](int64_t token) {
    if (found < kMostListed && measure_of(token) > 0) tokens[found++] = token;
  });
  std::sort(tokens, tokens + found, [&](int64_t a, int64_t b) {
    return row.logits[a] != row.logits[b] ? row.logits[a] > row.logits[b] : a < b;
  });
  std::for_each(tokens, tokens + found, walk);
  return dropped ? last : -1;
}

// groups: the tops of every sixteen tokens. When k of them reach a limit, so do k tokens.
inline int64_t keep_top_k(SampledRow& row, int64_t k, const float* groups) {
  const auto goal = static_cast<double>(k);
  const auto count_groups = [&](const float* limits, double* counts) {
    count_from(groups, row.blocks * kLanes, limits, counts);
  };
  const auto count_tokens = [&](const float* limits, double* counts) {
    for_each_block(row, limits[0], [&](int64_t, const float* logits) {
      count_from(logits, kBlock, limits, counts);
    });
  };
  const auto within = [](double few) {
    return [few](const Range& range) { return range.low_measure - range.high_measure <= few; };
  };
  Range range{row.floor, kInfinity, next_above(row.top), 0};
  const float floors[kProbes] = {row.floor, row.floor, row.floor, row.floor};
  double counts[kProbes] = {};
  count_groups(floors, counts);
  if (counts[0] >= goal) {
    narrow(range, goal, within(8 + goal / 16), count_groups);
    range = {range.low, kInfinity, next_above(row.top), 0};
  } else {
    std::fill(counts, counts + kProbes, 0.0);
    count_tokens(floors, counts);
    if (counts[0] < goal) return -1;
  }
  narrow(range, goal, within(kFewTokens), count_tokens);
  return cut(row, range, goal, [](int64_t) { return 1.0; });
}

inline double weight_of(const SampledRow& row, int64_t token) {
  return double{row.weights[token]} * row.factors[token / kBlock];
}

// The tokens that weigh less than half a vocab_size-th of what may be dropped weigh too little
// together. No token of a range weighs less than one at its low end would.
inline int64_t keep_top_p(SampledRow& row, float top_p, double total) {
  const double goal = std::max(top_p * total, std::numeric_limits<double>::min());
  const double least = 0.5 * (total - goal) / static_cast<double>(row.vocab_size);
  const float guess = row.top + row.temperature * static_cast<float>(std::log(least));
  Range range{std::max(row.floor, guess), kInfinity, next_above(row.top), 0};
  const auto is_few = [&](const Range& r) {
    const float weight = reduce_max(exp2(broadcast((r.low - row.top) * row.scale)));
    return r.low_measure - r.high_measure <= kFewTokens * double{weight};
  };
  narrow(range, goal, is_few,
         [&](const float* limits, double* masses) { mass_from(row, limits, masses); });
  return cut(row, range, goal, [&](int64_t token) { return weight_of(row, token); });
}

inline void drop_equals_after(SampledRow& row, int64_t last) {
  if (last < 0) return;
  for_each_between(row, row.floor, next_above(row.floor), [&](int64_t token) {
    if (token > last) row.weights[token] = 0;
  });
}

inline void sum_kept(SampledRow& row) {
  const Lanes floor = broadcast_lanes(row.floor);
  std::fill(row.sums, row.sums + row.blocks, 0.0f);
  for_each_block(row, row.floor, [&](int64_t block, const float* logits) {
    Lanes sum = broadcast_lanes(0.0f);
    for (int64_t i = 0; i < kBlock; i += kLanes) {
      const Lanes weight = load_lanes(row.weights + block * kBlock + i);
      sum = add(sum, where_at_least(load_lanes(logits + i), floor, weight));
    }
    row.sums[block] = reduce_add(sum);
  });
}
inline double total_of(const SampledRow& row) {
  double total = 0;
  for (int64_t i = 0; i < row.blocks; ++i) total += double{row.sums[i]} * row.factors[i];
  return total;
}

// Raises the floor and fills weights and sums with what the filters leave.
inline void filter(SampledRow& row, int64_t top_k, float top_p, float min_p) {
  find_tops(row, row.weights);
  if (min_p > 0) {
    const double least = row.temperature * std::log(double{std::min(min_p, 1.0f)});
    row.floor = std::max(row.floor, static_cast<float>(row.top + least));
  }
  int64_t last = -1;
  if (0 < top_k && top_k < row.vocab_size) last = keep_top_k(row, top_k, row.weights);
  for_each_block(row, row.floor, [&](int64_t block, const float* logits) {
    float* to = row.weights + block * kBlock;
    weigh(row, logits, row.tops[block],
          [&](int64_t i, Lanes weight) { store_lanes(to + i, weight); });
  });
  drop_equals_after(row, last);
  sum_kept(row);
  if (!(top_p < 1)) return;
  drop_equals_after(row, keep_top_p(row, top_p, total_of(row)));
  sum_kept(row);
}

}  // namespace t2::T2_ISA
