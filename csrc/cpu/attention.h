// What both attentions are made of. Every query has a lane of its own and walks the keys in order:
//
//     scores = keys queries^T          [keys, kStrip]
//     weights = 2^(scores log2(e) - top)
//     out = out 2^(old top - top) + values^T weights       [head_dim, kStrip]
//
// No step mixes lanes. So a query's bits depend on its keys and where their blocks begin, and not
// on the queries beside it, and they are the same for every width of register.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "lane_tile.h"
#include "scratch.h"
#include "vector_store.h"

namespace t2::T2_ISA {

constexpr int64_t kKeyBlock = 128;      // keys scored before their values are added
constexpr int64_t kBlockQueries = 256;  // queries of a task: their state stays in L2
constexpr float kNothing = std::numeric_limits<float>::lowest();  // the top of no keys at all

// The softmax of some keys for every query of a strip, before the division by its sum:
// out [head_dim, kStrip], then top [kStrip], in powers of two, then sum [kStrip].
struct State {
  float* out;
  float* top;
  float* sum;

  static int64_t floats(int64_t head_dim) { return (head_dim + 2) * kStrip; }
  State(float* data, int64_t head_dim)
      : out(data), top(data + head_dim * kStrip), sum(top + kStrip) {}
};

// Makes weights of scores [count, kStrip] in place, moves the state's top and sum on, and leaves in
// rescale what the state's out must be multiplied by.
inline void weigh(float* scores, int64_t count, State state, float* rescale, int vectors) {
  for (int64_t lane = 0; lane < vectors * kWidth; lane += kWidth) {
    Floats highest = load(scores + lane);
    for (int64_t key = 1; key < count; ++key) {
      highest = max(highest, load(scores + key * kStrip + lane));
    }
    const Floats old_top = load(state.top + lane);
    const Floats top = max(old_top, mul(highest, broadcast(kLog2E)));
    const Floats minus_top = sub(broadcast(0.0f), top);
    Floats sum = broadcast(0.0f);
    for (int64_t key = 0; key < count; ++key) {
      float* score = scores + key * kStrip + lane;
      const Floats weight = exp2(fma(load(score), broadcast(kLog2E), minus_top));
      sum = add(sum, weight);
      store(score, weight);
    }
    const Floats factor = exp2(sub(old_top, top));
    store(rescale + lane, factor);
    store(state.top + lane, top);
    store(state.sum + lane, fma(load(state.sum + lane), factor, sum));
  }
}

// The factors that join two states: out = out_a weight_a + out_b weight_b, and sum likewise. No
// keys at all is a top of kNothing and a sum of 0; joining that to a state leaves the state as it
// was.
struct Join {
  Floats top, weight_a, weight_b;

  Join(Floats top_a, Floats top_b)
      : top(max(top_a, top_b)), weight_a(exp2(sub(top_a, top))), weight_b(exp2(sub(top_b, top))) {}
  Floats operator()(Floats a, Floats b) const { return fma(weight_b, b, mul(weight_a, a)); }
};

inline void join(State into, State from, int64_t head_dim) {
  for (int64_t lane = 0; lane < kStrip; lane += kWidth) {
    const Join joined(load(into.top + lane), load(from.top + lane));
    store(into.top + lane, joined.top);
    store(into.sum + lane, joined(load(into.sum + lane), load(from.sum + lane)));
    for (int64_t d = 0; d < head_dim; ++d) {
      float* out = into.out + d * kStrip + lane;
      store(out, joined(load(out), load(from.out + d * kStrip + lane)));
    }
  }
}

}  // namespace t2::T2_ISA
