// What both attentions are made of. Every query has a lane of its own and walks the keys in order:
//
//     scores = keys queries^T          [keys, strip]       keys read in place, one broadcast each
//     weights = 2^(scores log2(e) - top)
//     out = out 2^(old top - top) + values^T weights       [head_dim, strip], values in place too
//
// No step mixes lanes. So a query's bits depend on its keys and where their blocks begin, and not
// on the queries beside it, and they are the same for every width of register.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <utility>

#include "vector_math.h"

namespace t2::T2_ISA {

constexpr int kStripVectors = kTilePanels * kParts;
constexpr int64_t kStrip = kStripVectors * kWidth;  // queries that walk the keys together
constexpr int64_t kKeyBlock = 128;                  // keys scored before their values are added
constexpr int64_t kBlockQueries = 256;              // queries of a task: their state stays in L2
constexpr float kLog2E = 1.44269504f;
constexpr float kNothing = std::numeric_limits<float>::lowest();  // the top of no keys at all

// Uninitialised floats on a cache line's boundary.
class Scratch {
 public:
  explicit Scratch(int64_t count)
      : data_(static_cast<float*>(::operator new(count * sizeof(float), kAlignment))) {}
  float* take(int64_t count) {
    float* taken = data_.get() + used_;
    used_ += count;
    return taken;
  }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(float* data) const { ::operator delete(data, kAlignment); }
  };
  std::unique_ptr<float, Free> data_;
  int64_t used_ = 0;
};

// The softmax of some keys for every query of a strip, before the division by its sum:
// out [head_dim, kStrip], then top [kStrip], in powers of two, then sum [kStrip].
struct State {
  float* out;
  float* top;
  float* sum;

  static int64_t floats(int64_t head_dim) { return (head_dim + 2) * kStrip; }
  State(float* data, int64_t head_dim)
      : out(data), top(data + head_dim * kStrip), sum(top + kStrip) {}
  void clear(int64_t head_dim) const {
    std::fill_n(out, head_dim * kStrip, 0.0f);
    std::fill_n(top, kStrip, kNothing);
    std::fill_n(sum, kStrip, 0.0f);
  }
};

// 2^x for x below 127.5, relative error below 1e-7 down to -126 (a minimax polynomial on
// [-1/2, 1/2]); exactly 1 at 0, and exactly 0 from -127, so that a masked key changes nothing.
inline Floats exp2(Floats x) {
  x = max(x, broadcast(-127.0f));
  const Floats n = round(x);
  const Floats r = sub(x, n);
  Floats p = broadcast(1.53533621e-4f);
  p = fma(p, r, broadcast(1.33988746e-3f));
  p = fma(p, r, broadcast(9.61843736e-3f));
  p = fma(p, r, broadcast(5.55033247e-2f));
  p = fma(p, r, broadcast(2.40226479e-1f));
  p = fma(p, r, broadcast(6.93147203e-1f));
  p = fma(p, r, broadcast(1.0f));
  return add_to_exponent(p, n);
}

enum class A { kRows, kColumns };  // how a tile walks A: down its rows or its columns

// C[Rows, lanes] = A B for A by rows, C = C rescale + A B for A by columns; B and C have rows of
// kStrip lanes, rescale one factor a lane.
template <A Order, int Vectors, int Rows>
void lane_tile(const float* a, int64_t a_stride, const float* b, int64_t depth, float* c,
               const float* rescale) {
  Floats sum[Rows][Vectors];
#pragma GCC unroll 16
  for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      sum[row][v] = Order == A::kRows
                        ? broadcast(0.0f)
                        : mul(load(c + row * kStrip + v * kWidth), load(rescale + v * kWidth));
    }
  }
  for (int64_t k = 0; k < depth; ++k) {
    Floats lanes[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) lanes[v] = load(b + k * kStrip + v * kWidth);
#pragma GCC unroll 16
    for (int row = 0; row < Rows; ++row) {
      const Floats value =
          broadcast(Order == A::kRows ? a[row * a_stride + k] : a[k * a_stride + row]);
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) sum[row][v] = fma(value, lanes[v], sum[row][v]);
    }
  }
#pragma GCC unroll 16
  for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) store(c + row * kStrip + v * kWidth, sum[row][v]);
  }
}

using LaneTile = void (*)(const float*, int64_t, const float*, int64_t, float*, const float*);

template <A Order, int Vectors, int... Rows>
constexpr std::array<LaneTile, sizeof...(Rows)> lane_tiles(std::integer_sequence<int, Rows...>) {
  return {lane_tile<Order, Vectors, Rows + 1>...};
}
template <A Order, int... Vectors>
constexpr auto lane_tiles_by_width(std::integer_sequence<int, Vectors...>) {
  return std::array{
      lane_tiles<Order, Vectors + 1>(std::make_integer_sequence<int, kTileRows>())...};
}

// C as in lane_tile, for any number of rows.
template <A Order>
inline void lane_product(const float* a, int64_t a_stride, int64_t rows, const float* b,
                         int64_t depth, float* c, const float* rescale, int vectors) {
  static constexpr auto kTiles =
      lane_tiles_by_width<Order>(std::make_integer_sequence<int, kStripVectors>());
  for (int64_t row = 0; row < rows; row += kTileRows) {
    const int64_t height = std::min<int64_t>(kTileRows, rows - row);
    kTiles[vectors - 1][height - 1](a + row * (Order == A::kRows ? a_stride : 1), a_stride, b,
                                    depth, c + row * kStrip, rescale);
  }
}

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

// Takes the first `vectors` vectors of a strip over `count` more keys (at most kKeyBlock).
// visible: how many of these keys each lane sees, or null when it is all. scores: [count, kStrip].
inline void attend(const float* queries, const float* keys, const float* values, int64_t count,
                   int64_t head_dim, const float* visible, State state, float* scores,
                   int vectors) {
  lane_product<A::kRows>(keys, head_dim, count, queries, head_dim, scores, nullptr, vectors);
  for (int64_t key = 0; visible != nullptr && key < count; ++key) {
    for (int64_t lane = 0; lane < vectors * kWidth; lane += kWidth) {
      // 0 where the lane sees the key, else so low that its weight is exactly 0.
      const Floats ahead = sub(load(visible + lane), broadcast(static_cast<float>(key + 1)));
      const Floats mask = min(mul(ahead, broadcast(1e30f)), broadcast(0.0f));
      float* score = scores + key * kStrip + lane;
      store(score, add(load(score), mask));
    }
  }
  float rescale[kStrip];
  weigh(scores, count, state, rescale, vectors);
  lane_product<A::kColumns>(values, head_dim, head_dim, scores, count, state.out, rescale, vectors);
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

// Where the queries of one key head lie in q and out: query i is head i % sharers of row
// i / sharers, and the first of them is at the pointer this is added to.
struct QueryLayout {
  int64_t sharers, row_stride, head_dim;
  int64_t operator()(int64_t i) const { return i / sharers * row_stride + i % sharers * head_dim; }
};

inline Floats load_up_to(const float* from, int64_t count) {
  if (count >= kWidth) return load(from);
  float lanes[kWidth] = {};
  std::copy_n(from, count, lanes);
  return load(lanes);
}
inline void store_up_to(float* to, int64_t count, Floats x) {
  if (count >= kWidth) return store(to, x);
  float lanes[kWidth];
  store(lanes, x);
  std::copy_n(lanes, count, to);
}

// Queries first to first + kStrip, times scale, as a strip [head_dim, kStrip]; 0 from `count` on.
inline void pack_strip(const float* q, QueryLayout at, int64_t first, int64_t count, float scale,
                       float* strip) {
  for (int64_t lane = 0; lane < kStrip; lane += kWidth) {
    for (int64_t d = 0; d < at.head_dim; d += kWidth) {
      Floats x[kWidth];
      for (int i = 0; i < kWidth; ++i) {
        const int64_t query = first + lane + i;
        x[i] = query < count ? load_up_to(q + at(query) + d, at.head_dim - d) : broadcast(0.0f);
      }
      transpose(x);
      const int64_t dims = std::min<int64_t>(kWidth, at.head_dim - d);
      for (int64_t i = 0; i < dims; ++i) {
        store(strip + (d + i) * kStrip + lane, mul(x[i], broadcast(scale)));
      }
    }
  }
}

// Hands the strip's out, times factor by lane, to write(query, d, dims, values): `dims` values of
// the query from d on, for queries first to `count`.
template <typename Write>
inline void unpack_strip(State state, int64_t head_dim, const float* factor, int64_t first,
                         int64_t count, Write&& write) {
  for (int64_t lane = 0; lane < kStrip && first + lane < count; lane += kWidth) {
    for (int64_t d = 0; d < head_dim; d += kWidth) {
      const int64_t dims = std::min<int64_t>(kWidth, head_dim - d);
      Floats x[kWidth];
      for (int64_t i = 0; i < kWidth; ++i) {
        x[i] = i < dims ? mul(load(state.out + (d + i) * kStrip + lane), load(factor + lane))
                        : broadcast(0.0f);
      }
      transpose(x);
      const int64_t queries = std::min<int64_t>(kWidth, count - first - lane);
      for (int64_t i = 0; i < queries; ++i) write(first + lane + i, d, dims, x[i]);
    }
  }
}

}  // namespace t2::T2_ISA
