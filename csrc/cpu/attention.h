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
#include "value_tile.h"
#include "vector_store.h"

namespace t2::T2_ISA {

constexpr int64_t kKeyBlock = 128;      // keys scored before their values are added
constexpr int64_t kBlockQueries = 256;  // queries of a task: their state stays in L2
constexpr float kNothing = std::numeric_limits<float>::lowest();  // the top of no keys at all

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

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

// What walking over keys needs room for.
struct Workspace {
  float* scores;         // [kKeyBlock, kStrip]
  float *keys, *values;  // [kKeyBlock, head_dim], of stores that are not float32
  float* rows;           // [kStrip, head_dim]

  static int64_t floats(int64_t head_dim) {
    return kKeyBlock * (kStrip + 2 * head_dim) + kStrip * head_dim;
  }
  Workspace(Scratch& scratch, int64_t head_dim)
      : scores(scratch.take(kKeyBlock * kStrip)),
        keys(scratch.take(kKeyBlock * head_dim)),
        values(scratch.take(kKeyBlock * head_dim)),
        rows(scratch.take(kStrip * head_dim)) {}
};

// Which keys a query sees: query i the first seen_by_first + i / sharers.
struct Causal {
  int64_t seen_by_first, sharers;
  int64_t operator()(int64_t query) const { return seen_by_first + query / sharers; }
};

// Some queries of one key head: query i is head i % sharers of row i / sharers. They are packed
// kStrip to a strip, with a state for each strip.
struct Strips {
  int64_t queries, sharers, head_dim;
  int64_t row_stride;  // of q and out
  float* packed;       // [count, head_dim, kStrip]
  float* states;       // [count, State::floats(head_dim)]

  int64_t count() const { return ceil_div(queries, kStrip); }
  int64_t packed_floats() const { return count() * head_dim * kStrip; }
  int64_t state_floats() const { return count() * State::floats(head_dim); }
  State state(int64_t strip) const {
    return State(states + strip * State::floats(head_dim), head_dim);
  }
  int64_t in_last_strip() const { return queries - (count() - 1) * kStrip; }
  // Whether many lanes of the last strip are idle.
  bool is_sparse() const {
    const int64_t lanes = ceil_div(in_last_strip(), kWidth) * kWidth;
    return head_dim % kWidth == 0 && 8 * in_last_strip() <= 7 * lanes;
  }
  int64_t offset(int64_t query) const {
    return query / sharers * row_stride + query % sharers * head_dim;
  }

  void clear() const;
  void pack(const float* q, float scale) const;
  void attend(Vectors keys, Vectors values, int64_t num_keys, const Causal* causal,
              const Workspace& work) const;
  void add_by_rows(const float* values, const float* ahead, int64_t count, const float* rescale,
                   const Workspace& work) const;
  void copy_lanes(int64_t first_query, const Strips& to, int64_t to_query, int64_t count) const;
  template <typename Write>
  void unpack(int64_t strip, const float* factor, Write&& write) const;
};

inline void Strips::clear() const {
  for (int64_t strip = 0; strip < count(); ++strip) {
    std::fill_n(state(strip).out, head_dim * kStrip, 0.0f);
    std::fill_n(state(strip).top, kStrip, kNothing);
    std::fill_n(state(strip).sum, kStrip, 0.0f);
  }
}

// to [head_dim, kStrip] = the rows at row(0) to row(count - 1), each in its lane, times scale.
// Other lanes of the last vector are 0.
template <typename Row>
inline void to_lanes(Row&& row, int64_t count, int64_t head_dim, float scale, float* to) {
  for (int64_t lane = 0; lane < count; lane += kWidth) {
    for (int64_t d = 0; d < head_dim; d += kWidth) {
      Floats x[kWidth];
      for (int i = 0; i < kWidth; ++i) {
        x[i] = lane + i < count ? load_up_to(row(lane + i) + d, head_dim - d) : broadcast(0.0f);
      }
      transpose(x);
      const int64_t dims = std::min<int64_t>(kWidth, head_dim - d);
      for (int64_t i = 0; i < dims; ++i) {
        store(to + (d + i) * kStrip + lane, mul(x[i], broadcast(scale)));
      }
    }
  }
}

// q: the first query.
inline void Strips::pack(const float* q, float scale) const {
  for (int64_t first = 0; first < queries; first += kStrip) {
    const auto row = [&](int64_t i) { return q + offset(first + i); };
    to_lanes(row, std::min(kStrip, queries - first), head_dim, scale, packed + first * head_dim);
  }
}

// Lowers the scores [count, kStrip] of keys first_key to first_key + count that a lane does not see
// so far that their weights are exactly 0. query: the strip's first.
inline void mask(float* scores, int64_t first_key, int64_t count, const Causal& causal,
                 int64_t query) {
  float seen[kStrip];
  for (int64_t lane = 0; lane < kStrip; ++lane) {
    seen[lane] = static_cast<float>(causal(query + lane) - first_key);
  }
  for (int64_t key = 0; key < count; ++key) {
    for (int64_t lane = 0; lane < kStrip; lane += kWidth) {
      const Floats ahead = sub(load(seen + lane), broadcast(static_cast<float>(key + 1)));
      float* score = scores + key * kStrip + lane;
      store(score, add(load(score), min(mul(ahead, broadcast(1e30f)), broadcast(0.0f))));
    }
  }
}

// Takes the states on over num_keys keys and values, a block after another, each read once from
// memory, and widened once, for all strips. causal: null where every query sees every key.
inline void Strips::attend(Vectors keys, Vectors values, int64_t num_keys, const Causal* causal,
                           const Workspace& work) const {
  if (causal != nullptr) num_keys = std::min(num_keys, (*causal)(queries - 1));
  const int64_t last_strip = count() - 1;
  const bool sparse = is_sparse();
  if (sparse) {  // its outs are rows meanwhile
    float ones[kStrip];
    std::fill_n(ones, kStrip, 1.0f);
    unpack(last_strip, ones, [&](int64_t query, int64_t d, int64_t, Floats x) {
      store(work.rows + query % kStrip * head_dim + d, x);
    });
  }
  for (int64_t key = 0; key < num_keys; key += kKeyBlock) {
    const int64_t in_block = std::min(kKeyBlock, num_keys - key);
    const Vectors stored_values = values.from(key), next = keys.from(key + in_block);
    const float* block_keys = keys.from(key).widen(in_block, head_dim, work.keys);
    const float* block_values = nullptr;  // widened when needed, not to drive the keys out of L1
    for (int64_t strip = 0; strip <= last_strip; ++strip) {
      const int64_t first = strip * kStrip, last = std::min(first + kStrip, queries) - 1;
      const int64_t seen = causal != nullptr ? (*causal)(last)-key : in_block;
      const int64_t count = std::min(in_block, seen);
      if (count <= 0) continue;
      const int vectors = static_cast<int>(ceil_div(last + 1 - first, kWidth));
      lane_product<Storage::kRows>(block_keys, stored_values.address(), head_dim, count,
                                   packed + first * head_dim, head_dim, work.scores, nullptr,
                                   vectors);
      if (causal != nullptr && (*causal)(first) < key + count) {
        mask(work.scores, key, count, *causal, first);
      }
      float rescale[kStrip];
      weigh(work.scores, count, state(strip), rescale, vectors);
      if (block_values == nullptr) {
        block_values = stored_values.widen(in_block, head_dim, work.values);
      }
      if (sparse && strip == last_strip) {
        add_by_rows(block_values, next.address(), count, rescale, work);
      } else {
        lane_product<Storage::kColumns>(block_values, next.address(), head_dim, head_dim,
                                        work.scores, count, state(strip).out, rescale, vectors);
      }
    }
  }
  if (sparse) {
    const auto row = [&](int64_t i) { return work.rows + i * head_dim; };
    to_lanes(row, in_last_strip(), head_dim, 1.0f, state(last_strip).out);
  }
}

// The values of the last strip, its outs as rows.
inline void Strips::add_by_rows(const float* values, const float* ahead, int64_t count,
                                const float* rescale, const Workspace& work) const {
  const int64_t rows = in_last_strip();
  for (int64_t row = 0; row < rows; ++row) {
    float* out = work.rows + row * head_dim;
    for (int64_t d = 0; d < head_dim; d += kWidth) {
      store(out + d, mul(load(out + d), broadcast(rescale[row])));
    }
  }
  add_values(Weights{work.scores, 1, kStrip}, values, ahead, rows, head_dim, count, work.rows,
             true);
}

// Copies the states of `count` queries from first_query on to those of `to` from to_query on.
inline void Strips::copy_lanes(int64_t first_query, const Strips& to, int64_t to_query,
                               int64_t count) const {
  while (count > 0) {
    const int64_t lane = first_query % kStrip, to_lane = to_query % kStrip;
    const int64_t some = std::min({count, kStrip - lane, kStrip - to_lane});
    const float* from = states + first_query / kStrip * State::floats(head_dim) + lane;
    float* into = to.states + to_query / kStrip * State::floats(head_dim) + to_lane;
    for (int64_t d = 0; d < head_dim + 2; ++d) {  // out, top and sum are rows alike
      std::copy_n(from + d * kStrip, some, into + d * kStrip);
    }
    first_query += some, to_query += some, count -= some;
  }
}

// Hands a strip's out, times factor [kStrip], to write(query, d, dims, values): `dims` values of
// the query from d on.
template <typename Write>
inline void Strips::unpack(int64_t strip, const float* factor, Write&& write) const {
  const int64_t first = strip * kStrip, end = std::min(first + kStrip, queries);
  for (int64_t query = first; query < end; query += kWidth) {
    const int64_t lane = query - first;
    for (int64_t d = 0; d < head_dim; d += kWidth) {
      const int64_t dims = std::min<int64_t>(kWidth, head_dim - d);
      Floats x[kWidth];
      for (int64_t i = 0; i < kWidth; ++i) {
        x[i] = i < dims ? mul(load(state(strip).out + (d + i) * kStrip + lane), load(factor + lane))
                        : broadcast(0.0f);
      }
      transpose(x);
      const int64_t some = std::min<int64_t>(kWidth, end - query);
      for (int64_t i = 0; i < some; ++i) write(query + i, d, dims, x[i]);
    }
  }
}

}  // namespace t2::T2_ISA
