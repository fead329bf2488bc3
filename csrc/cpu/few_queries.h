// Products for queries too few to fill vectors of them: the lanes run along the keys, or along
// head_dim, so that none is idle. Like lane_tile.h they make one multiply-add per k in rising
// order, so both give an element the same bits.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "lane_tile.h"
#include "vector_store.h"

namespace t2::T2_ISA {

constexpr int64_t kLine = 64;     // bytes that are fetched at once
constexpr int64_t kFewKeys = 32;  // that are widened at once, to stay in L1

// scores [count, kStrip] = keys [count, head_dim] packed [head_dim, kStrip], for head_dim a
// multiple of kWidth and the first `queries` lanes; the others of their last vector are 0. The
// stored rows at `ahead`, as large, are fetched meanwhile.
template <typename T>
void score_stored(const T* keys, const float* scales, const char* ahead, int64_t count,
                  int64_t head_dim, const float* packed, int64_t queries, float* scores) {
  for (int64_t key = 0; key < count; key += kWidth) {
    Floats sums[kStrip];  // of a query, lanes along the keys
    std::fill_n(sums, kStrip, broadcast(0.0f));
    for (int64_t d = 0; d < head_dim; d += kWidth) {
      Floats x[kWidth];
      for (int64_t i = 0; i < kWidth; ++i) {
        const int64_t row = std::min(key + i, count - 1);
        x[i] = load(keys + row * head_dim + d);
        if (scales != nullptr) x[i] = mul(x[i], broadcast(scales[row]));
        if (d * sizeof(T) % kLine == 0) {
          __builtin_prefetch(ahead + (row * head_dim + d) * sizeof(T), 0, 2);
        }
      }
      transpose(x);
      for (int64_t query = 0; query < queries; ++query) {
        Floats sum = sums[query];
        for (int64_t i = 0; i < kWidth; ++i) {
          sum = fma(x[i], broadcast(packed[(d + i) * kStrip + query]), sum);
        }
        sums[query] = sum;
      }
    }
    const int64_t some = std::min<int64_t>(kWidth, count - key);
    for (int64_t query = 0; query < queries; query += kWidth) {
      Floats x[kWidth];
      std::copy_n(sums + query, kWidth, x);
      transpose(x);
      for (int64_t i = 0; i < some; ++i) store(scores + (key + i) * kStrip + query, x[i]);
    }
  }
}

inline void score_few(Vectors keys, Vectors ahead, int64_t count, const float* packed,
                      int64_t queries, float* scores) {
  as_stored(keys.data, keys.dtype, [&](const auto* stored) {
    score_stored(stored, keys.scales, ahead.data, count, keys.head_dim, packed, queries, scores);
  });
}

constexpr int kValueVectors = 4;  // of head_dim, held in registers while the keys go by
constexpr int kValueRows = kTileRows * kTilePanels * kParts / kValueVectors;

// Weights [rows, keys], each anywhere.
struct Weights {
  const float* data;
  int64_t row_stride, key_stride;
};

// out[Rows, Registers * kWidth] (+)= weights[Rows, count] values[count, width], on some of its
// columns. Meanwhile it fetches as many of the vectors at `ahead`.
template <int Registers, int Rows>
void value_tile(Weights weights, const float* values, const Vectors& ahead, int64_t width,
                int64_t count, float* out, bool accumulate) {
  const int64_t fetched = Registers * kWidth * size_of(ahead.dtype);
  const int64_t ahead_row = ahead.head_dim * size_of(ahead.dtype);
  Floats sum[Rows][Registers];
  for (int row = 0; row < Rows; ++row) {
    for (int v = 0; v < Registers; ++v) {
      sum[row][v] = accumulate ? load(out + row * width + v * kWidth) : broadcast(0.0f);
    }
  }
  for (int64_t key = 0; key < count; ++key) {
    for (int64_t line = 0; line < fetched; line += kLine) {
      __builtin_prefetch(ahead.data + key * ahead_row + line);
    }
    for (int v = 0; v < Registers; ++v) {
      const Floats value = load(values + key * width + v * kWidth);
      for (int row = 0; row < Rows; ++row) {
        sum[row][v] =
            fma(broadcast(weights.data[row * weights.row_stride + key * weights.key_stride]), value,
                sum[row][v]);
      }
    }
  }
  for (int row = 0; row < Rows; ++row) {
    for (int v = 0; v < Registers; ++v) store(out + row * width + v * kWidth, sum[row][v]);
  }
}

using ValueTile = void (*)(Weights, const float*, const Vectors&, int64_t, int64_t, float*, bool);

template <int Registers, int... Rows>
constexpr std::array<ValueTile, sizeof...(Rows)> value_tiles(std::integer_sequence<int, Rows...>) {
  return {value_tile<Registers, Rows + 1>...};
}
template <int... Registers>
constexpr auto value_tiles_by_width(std::integer_sequence<int, Registers...>) {
  return std::array{value_tiles<Registers + 1>(std::make_integer_sequence<int, kValueRows>())...};
}

// As value_tile, for any number of rows and any width that is a multiple of kWidth.
inline void add_values(Weights weights, const float* values, Vectors ahead, int64_t rows,
                       int64_t width, int64_t count, float* out, bool accumulate) {
  static constexpr auto kTiles =
      value_tiles_by_width(std::make_integer_sequence<int, kValueVectors>());
  for (int64_t row = 0; row < rows; row += kValueRows) {
    const int64_t height = std::min<int64_t>(kValueRows, rows - row);
    for (int64_t d = 0; d < width; d += kValueVectors * kWidth) {
      const int64_t vectors = std::min<int64_t>(kValueVectors, (width - d) / kWidth);
      const Weights some{weights.data + row * weights.row_stride, weights.row_stride,
                         weights.key_stride};
      Vectors columns = ahead;
      columns.data += d * size_of(ahead.dtype);
      kTiles[vectors - 1][height - 1](some, values + d, columns, width, count,
                                      out + row * width + d, accumulate);
    }
  }
}

}  // namespace t2::T2_ISA
