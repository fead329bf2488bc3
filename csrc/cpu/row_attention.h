// Attention of one row's heads to keys that no other row has. Each key is met by a few queries only,
// so the lanes run along head_dim while keys are scored, and along the keys while they are weighed.
#pragma once

#include "attention.h"
#include "gemm.h"

namespace t2::T2_ISA {

// The part of a sum of Lanes that a register holds: lane i with lane i + 8, then i + 4 and so on,
// as in reduce_add.
inline Floats fold(Lanes x) {
  for (int half = kParts / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) x.part[i] = add(x.part[i], x.part[i + half]);
  }
  return x.part[0];
}

// scores[key] = query . keys[key] for `count` keys, then kNothing up to a multiple of kLanes.
// keys: [count, width], width a multiple of kLanes.
inline void score_keys(const float* query, const float* keys, int64_t count, int64_t width,
                       float* scores) {
  constexpr int kTogether = 4;
  static_assert(kWidth % kTogether == 0);
  for (int64_t first = 0; first < count; first += kWidth) {
    Floats sums[kWidth];
    for (int i = 0; i < kWidth; i += kTogether) {
      Lanes sum[kTogether];
      const float* key[kTogether];
      for (int j = 0; j < kTogether; ++j) {
        sum[j] = broadcast_lanes(0.0f);
        key[j] = keys + std::min(first + i + j, count - 1) * width;
      }
      for (int64_t d = 0; d < width; d += kLanes) {
        const Lanes x = load_lanes(query + d);
        for (int j = 0; j < kTogether; ++j) sum[j] = fma(x, load_lanes(key[j] + d), sum[j]);
      }
      for (int j = 0; j < kTogether; ++j) sums[i + j] = fold(sum[j]);
    }
    transpose(sums);
    for (int half = kWidth / 2; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) sums[i] = add(sums[i], sums[i + half]);
    }
    store(scores + first, sums[0]);
  }
  const int64_t whole = (count + kLanes - 1) / kLanes * kLanes;
  std::fill(scores + count, scores + whole, kNothing);
}

inline float exp2(float x) {
  float lanes[kWidth];
  store(lanes, exp2(broadcast(x)));
  return lanes[0];
}

// As weigh in attention.h, for one query: makes weights of scores, moves top and sum on and returns
// what out must be multiplied by.
inline float weigh_keys(float* scores, int64_t count, float& top, float& sum) {
  Lanes highest = load_lanes(scores);
  for (int64_t key = kLanes; key < count; key += kLanes) {
    highest = max(highest, load_lanes(scores + key));
  }
  const float old_top = top;
  top = std::max(top, reduce_max(highest) * kLog2E);
  Lanes sums = broadcast_lanes(0.0f);
  for (int64_t key = 0; key < count; key += kLanes) {
    Lanes weight = load_lanes(scores + key);
    for (Floats& part : weight.part) part = exp2(fma(part, broadcast(kLog2E), broadcast(-top)));
    sums = add(sums, weight);
    store_lanes(scores + key, weight);
  }
  const float factor = exp2(old_top - top);
  sum = sum * factor + reduce_add(sums);
  return factor;
}

// The keys and values of one row and key head, [count, head_dim] each.
struct OwnKeys {
  const float *keys, *values;
  int64_t count;
};

class RowAttention {
 public:
  static int64_t padded(int64_t head_dim) { return (head_dim + kLanes - 1) / kLanes * kLanes; }
  static int64_t scratch(int64_t sharers, int64_t head_dim) {
    return sharers * (padded(head_dim) + kKeyBlock) + 2 * kKeyBlock * padded(head_dim);
  }

  RowAttention(int64_t sharers, int64_t head_dim, float scale, Scratch& scratch)
      : sharers_(sharers),
        head_dim_(head_dim),
        width_(padded(head_dim)),
        scale_(scale),
        queries_(scratch.take(sharers * width_)),
        scores_(scratch.take(sharers * kKeyBlock)),
        keys_(scratch.take(kKeyBlock * width_)),
        values_(scratch.take(kKeyBlock * width_)) {}

  // out [sharers, head_dim] before the division by sum; top (in powers of two) and sum [sharers].
  void operator()(const float* q, OwnKeys own, float* out, float* top, float* sum) const {
    std::fill_n(top, sharers_, kNothing);
    std::fill_n(sum, sharers_, 0.0f);
    if (own.count == 0) std::fill_n(out, sharers_ * head_dim_, 0.0f);
    for (int64_t i = 0; i < sharers_; ++i) {
      for (int64_t d = 0; d < width_; ++d) {
        queries_[i * width_ + d] = d < head_dim_ ? scale_ * q[i * head_dim_ + d] : 0.0f;
      }
    }
    for (int64_t first = 0; first < own.count; first += kKeyBlock) {
      const int64_t count = std::min(kKeyBlock, own.count - first);
      const float* keys = widened(own.keys + first * head_dim_, count, keys_);
      const float* values = widened(own.values + first * head_dim_, count, values_);
      for (int64_t i = 0; i < sharers_; ++i) {
        score_keys(queries_ + i * width_, keys, count, width_, scores_ + i * kKeyBlock);
        const float factor = weigh_keys(scores_ + i * kKeyBlock, count, top[i], sum[i]);
        for (int64_t d = 0; first > 0 && d < head_dim_; ++d) out[i * head_dim_ + d] *= factor;
      }
      gemm(scores_, kKeyBlock, sharers_, Panels{values, kPanel, width_}, count, out, head_dim_,
           head_dim_, first > 0);
    }
  }

 private:
  // The rows with 0 up to a multiple of kLanes, copied only where they are not that wide already.
  const float* widened(const float* rows, int64_t count, float* copy) const {
    if (width_ == head_dim_) return rows;
    for (int64_t row = 0; row < count; ++row) {
      std::copy_n(rows + row * head_dim_, head_dim_, copy + row * width_);
      std::fill_n(copy + row * width_ + head_dim_, width_ - head_dim_, 0.0f);
    }
    return copy;
  }

  int64_t sharers_, head_dim_, width_;
  float scale_;
  float *queries_, *scores_, *keys_, *values_;
};

}  // namespace t2::T2_ISA
