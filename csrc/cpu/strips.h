// The queries of one key head, packed by strips of lanes, and their walk over keys.
#pragma once

#include "attention.h"
#include "few_queries.h"
#include "lane_tile.h"

namespace t2::T2_ISA {

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
  // Whether many of its lanes would be idle.
  bool is_sparse() const {
    const int64_t lanes = ceil_div(queries, kWidth) * kWidth;
    return head_dim % kWidth == 0 && 8 * queries <= 3 * lanes;
  }
  int64_t offset(int64_t query) const {
    return query / sharers * row_stride + query % sharers * head_dim;
  }

  void clear() const;
  void pack(const float* q, float scale) const;
  void attend(Vectors keys, Vectors values, int64_t num_keys, const Causal* causal,
              const Workspace& work) const;
  void attend_few(Vectors keys, Vectors values, int64_t num_keys, const Causal* causal,
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
  if (count() == 1 && is_sparse()) return attend_few(keys, values, num_keys, causal, work);
  for (int64_t key = 0; key < num_keys; key += kKeyBlock) {
    const int64_t in_block = std::min(kKeyBlock, num_keys - key);
    const Vectors stored_values = values.from(key), next = keys.from(key + in_block);
    const float* block_keys = keys.from(key).widen(in_block, head_dim, work.keys);
    const float* block_values = nullptr;  // widened when needed, not to drive the keys out of L1
    for (int64_t strip = 0; strip < this->count(); ++strip) {
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
        float* room = this->count() == 1 ? work.keys : work.values;  // a lone strip's keys are done
        block_values = stored_values.widen(in_block, head_dim, room);
      }
      lane_product<Storage::kColumns>(block_values, next.address(), head_dim, head_dim, work.scores,
                                      count, state(strip).out, rescale, vectors);
    }
  }
}

// The same, to the bit, for queries too few to fill a strip: lanes run along the keys while they
// are scored and along head_dim while values are added, so none is idle. The outs are rows
// meanwhile.
inline void Strips::attend_few(Vectors keys, Vectors values, int64_t num_keys, const Causal* causal,
                               const Workspace& work) const {
  float factor[kStrip];
  std::fill_n(factor, kStrip, 1.0f);
  unpack(0, factor, [&](int64_t query, int64_t d, int64_t, Floats x) {
    store(work.rows + query * head_dim + d, x);
  });
  const int vectors = static_cast<int>(ceil_div(queries, kWidth));
  for (int64_t key = 0; key < num_keys; key += kKeyBlock) {
    const int64_t count = std::min(kKeyBlock, num_keys - key);
    score_few(keys.from(key), values.from(key), count, packed, queries, work.scores);
    if (causal != nullptr && (*causal)(0) < key + count) mask(work.scores, key, count, *causal, 0);
    weigh(work.scores, count, state(0), factor, vectors);
    for (int64_t query = 0; query < queries; ++query) {
      float* out = work.rows + query * head_dim;
      for (int64_t d = 0; d < head_dim; d += kWidth) {
        store(out + d, mul(load(out + d), broadcast(factor[query])));
      }
    }
    const int64_t step = values.in_place(head_dim) ? count : kFewKeys;
    for (int64_t first = 0; first < count; first += step) {
      const int64_t some = std::min(step, count - first);
      const Weights weights{work.scores + first * kStrip, 1, kStrip};
      const float* wide = values.from(key + first).widen(some, head_dim, work.values);
      add_values(weights, wide, keys.from(key + count + first), queries, head_dim, some, work.rows,
                 true);
    }
  }
  const auto row = [&](int64_t i) { return work.rows + i * head_dim; };
  to_lanes(row, queries, head_dim, 1.0f, state(0).out);
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
