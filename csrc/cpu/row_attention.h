// Attention of one row's heads to keys that no other row has. Each key is met by a few queries
// only, so the lanes run along head_dim while keys are scored, and along the keys while they are
// weighed.
#pragma once

#include "attention.h"
#include "few_queries.h"

namespace t2::T2_ISA {

// One query times kWidth keys, lane i for key i; the last key again for those from `count` on.
// Rows of `width` floats, a multiple of kLanes.
inline Floats score_keys(const float* query, const float* keys, int64_t count, int64_t width) {
  constexpr int kTogether = 4;
  static_assert(kWidth % kTogether == 0);
  Floats sums[kWidth];
  for (int i = 0; i < kWidth; i += kTogether) {
    Lanes sum[kTogether];
    const float* key[kTogether];
    for (int j = 0; j < kTogether; ++j) {
      sum[j] = broadcast_lanes(0.0f);
      key[j] = keys + std::min<int64_t>(i + j, count - 1) * width;
    }
    for (int64_t d = 0; d < width; d += kLanes) {
      const Lanes x = load_lanes(query + d);
      for (int j = 0; j < kTogether; ++j) sum[j] = fma(x, load_lanes(key[j] + d), sum[j]);
    }
    for (int j = 0; j < kTogether; ++j) sums[i + j] = fold_add(sum[j]);
  }
  transpose(sums);
  for (int half = kWidth / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) sums[i] = add(sums[i], sums[i + half]);
  }
  return sums[0];
}

// kNothing for lanes from `count` on, 0 for those before.
inline Floats absent(int64_t count) {
  alignas(64) static constexpr auto kAbsent = [] {
    std::array<float, 2 * kWidth> lanes{};
    for (int i = kWidth; i < 2 * kWidth; ++i) lanes[i] = kNothing;
    return lanes;
  }();
  return load(kAbsent.data() + kWidth - std::clamp<int64_t>(count, 0, kWidth));
}

// As weigh in attention.h, for one query and the lanes along the keys: makes weights of scores,
// moves top and sum on and returns what out must be multiplied by. `whole`: a multiple of kLanes.
inline float weigh_keys(float* scores, int64_t whole, float& top, float& sum) {
  Lanes highest = load_lanes(scores);
  for (int64_t key = kLanes; key < whole; key += kLanes) {
    highest = max(highest, load_lanes(scores + key));
  }
  const float old_top = top;
  top = std::max(top, reduce_max(highest) * kLog2E);
  Lanes sums = broadcast_lanes(0.0f);
  for (int64_t key = 0; key < whole; key += kLanes) {
    Lanes weight = load_lanes(scores + key);
    for (Floats& part : weight.part) part = exp2(fma(part, broadcast(kLog2E), broadcast(-top)));
    sums = add(sums, weight);
    store_lanes(scores + key, weight);
  }
  const float factor = old_top == kNothing ? 0.0f : reduce_max(exp2(broadcast(old_top - top)));
  sum = sum * factor + reduce_add(sums);
  return factor;
}

// The keys and values of one row and key head.
struct OwnKeys {
  Vectors keys, values;
  int64_t count;
};

class RowAttention {
 public:
  static int64_t scratch(int64_t sharers, int64_t head_dim) {
    const int64_t width = round_up(head_dim);
    return sharers * (2 * width + kKeyBlock) + kFewKeys * width;
  }

  RowAttention(int64_t sharers, int64_t head_dim, float scale, Scratch& scratch)
      : sharers_(sharers),
        head_dim_(head_dim),
        width_(round_up(head_dim)),
        scale_(scale),
        queries_(scratch.take(sharers * width_)),
        out_(scratch.take(sharers * width_)),
        scores_(scratch.take(sharers * kKeyBlock)),
        wide_(scratch.take(kFewKeys * width_)) {}

  // out [sharers, head_dim] before the division by sum; top (in powers of two) and sum [sharers].
  // next: keys that will be asked for after these.
  void operator()(const float* q, OwnKeys own, Vectors next, float* out, float* top,
                  float* sum) const {
    std::fill_n(top, sharers_, kNothing);
    std::fill_n(sum, sharers_, 0.0f);
    if (own.count == 0) {
      std::fill_n(out, sharers_ * head_dim_, 0.0f);
      return;
    }
    for (int64_t i = 0; i < sharers_; ++i) {
      for (int64_t d = 0; d < width_; d += kWidth) {
        const Floats x = load_up_to(q + i * head_dim_ + d, head_dim_ - d);
        store(queries_ + i * width_ + d, mul(x, broadcast(scale_)));
      }
    }
    float* const wide_out = width_ == head_dim_ ? out : out_;
    for (int64_t first = 0; first < own.count; first += kKeyBlock) {
      const int64_t count = std::min(kKeyBlock, own.count - first);
      const Vectors stored_values = own.values.from(first);
      const Vectors after = own.count - first > kKeyBlock ? own.keys.from(first + kKeyBlock) : next;
      score(own.keys.from(first), stored_values, count);
      for (int64_t i = 0; i < sharers_; ++i) {
        const float factor = weigh_keys(scores_ + i * kKeyBlock, round_up(count), top[i], sum[i]);
        for (int64_t d = 0; first > 0 && d < width_; ++d) wide_out[i * width_ + d] *= factor;
      }
      const int64_t step = stored_values.in_place(width_) ? count : kFewKeys;
      for (int64_t key = 0; key < count; key += step) {
        const int64_t some = std::min(step, count - key);
        const float* values = stored_values.from(key).widen(some, width_, wide_);
        add_values(Weights{scores_ + key, kKeyBlock, 1}, values, after.from(key), sharers_, width_,
                   some, wide_out, first + key > 0);
      }
    }
    for (int64_t i = 0; wide_out == out_ && i < sharers_; ++i) {
      std::copy_n(out_ + i * width_, head_dim_, out + i * head_dim_);
    }
  }

 private:
  static int64_t round_up(int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }

  // Scores of `count` keys by every sharer, kNothing up to a multiple of kLanes. The values are
  // fetched meanwhile: they are what is needed next.
  void score(const Vectors& keys, const Vectors& values, int64_t count) const {
    const int64_t row_bytes = head_dim_ * size_of(values.dtype);
    for (int64_t key = 0; key < round_up(count); key += kWidth) {
      const int64_t some = std::min<int64_t>(kWidth, count - key);
      for (int64_t line = 0; line < some * row_bytes; line += kLine) {
        __builtin_prefetch(values.data + key * row_bytes + line);
      }
      const float* wide = some > 0 ? keys.from(key).widen(some, width_, wide_) : nullptr;
      for (int64_t i = 0; i < sharers_; ++i) {
        float* to = scores_ + i * kKeyBlock + key;
        store(to, some > 0
                      ? add(score_keys(queries_ + i * width_, wide, some, width_), absent(some))
                      : absent(0));
      }
    }
  }

  int64_t sharers_, head_dim_, width_;
  float scale_;
  float *queries_, *out_, *scores_, *wide_;  // wide_: a few keys or values, to stay in L1
};

}  // namespace t2::T2_ISA
