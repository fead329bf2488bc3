// The values' product with a few rows of weights: the lanes run along head_dim, so that no lane is
// idle however few the rows are. Like lane_tile.h it makes one multiply-add per key in rising
// order, so both give an element the same bits.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "lane_tile.h"

namespace t2::T2_ISA {

constexpr int kValueVectors = 4;  // of head_dim, held in registers while the keys go by
constexpr int kValueRows = kTileRows * kStripVectors / kValueVectors;

// Weights [rows, keys], each anywhere.
struct Weights {
  const float* data;
  int64_t row_stride, key_stride;
};

// out[Rows, Vectors * kWidth] (+)= weights[Rows, count] values[count, width], on some of its
// columns. Meanwhile it fetches the same columns of the `count` rows at `ahead`.
template <int Vectors, int Rows>
void value_tile(Weights weights, const float* values, const float* ahead, int64_t width,
                int64_t count, float* out, bool accumulate) {
  Floats sum[Rows][Vectors];
  for (int row = 0; row < Rows; ++row) {
    for (int v = 0; v < Vectors; ++v) {
      sum[row][v] = accumulate ? load(out + row * width + v * kWidth) : broadcast(0.0f);
    }
  }
  for (int64_t key = 0; key < count; ++key) {
    for (int v = 0; v < Vectors; v += kParts) __builtin_prefetch(ahead + key * width + v * kWidth);
    for (int v = 0; v < Vectors; ++v) {
      const Floats value = load(values + key * width + v * kWidth);
      for (int row = 0; row < Rows; ++row) {
        sum[row][v] =
            fma(broadcast(weights.data[row * weights.row_stride + key * weights.key_stride]), value,
                sum[row][v]);
      }
    }
  }
  for (int row = 0; row < Rows; ++row) {
    for (int v = 0; v < Vectors; ++v) store(out + row * width + v * kWidth, sum[row][v]);
  }
}

using ValueTile = void (*)(Weights, const float*, const float*, int64_t, int64_t, float*, bool);

template <int Vectors, int... Rows>
constexpr std::array<ValueTile, sizeof...(Rows)> value_tiles(std::integer_sequence<int, Rows...>) {
  return {value_tile<Vectors, Rows + 1>...};
}
template <int... Vectors>
constexpr auto value_tiles_by_width(std::integer_sequence<int, Vectors...>) {
  return std::array{value_tiles<Vectors + 1>(std::make_integer_sequence<int, kValueRows>())...};
}

// As value_tile, for any number of rows and any width that is a multiple of kWidth.
inline void add_values(Weights weights, const float* values, const float* ahead, int64_t rows,
                       int64_t width, int64_t count, float* out, bool accumulate) {
  static constexpr auto kTiles =
      value_tiles_by_width(std::make_integer_sequence<int, kValueVectors>());
  for (int64_t row = 0; row < rows; row += kValueRows) {
    const int64_t height = std::min<int64_t>(kValueRows, rows - row);
    for (int64_t d = 0; d < width; d += kValueVectors * kWidth) {
      const int64_t vectors = std::min<int64_t>(kValueVectors, (width - d) / kWidth);
      const Weights some{weights.data + row * weights.row_stride, weights.row_stride,
                         weights.key_stride};
      kTiles[vectors - 1][height - 1](some, values + d, ahead + d, width, count,
                                      out + row * width + d, accumulate);
    }
  }
}

}  // namespace t2::T2_ISA
