// The matrix product of both attentions: every column of C is a query with a lane of its own, and A
// (keys or values) is read in place, one broadcast an element. Like gemm.h it makes one
// multiply-add per k in rising order, so a lane's bits do not depend on the lanes beside it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "vector_math.h"

namespace t2::T2_ISA {

constexpr int kStripVectors = kStripPanels * kParts;
constexpr int64_t kStrip = kStripVectors * kWidth;  // lanes of a row of B and C

constexpr int kMostLaneRows = 14;

// How many rows a tile of so many vectors has registers for: its accumulators, the vectors of B at
// one k, and one element of A.
constexpr int lane_rows(int vectors) {
  return std::min(kMostLaneRows, (kRegisters - vectors - 1) / vectors);
}

// How A is stored: a row after a row (keys, a query's scores are its product with rows), or a
// column after a column (values, summed over the keys).
enum class Storage { kRows, kColumns };

// Rows of C, Vectors * kWidth lanes wide: A B for A by rows, C rescale + A B for A by columns,
// where rescale has a factor for each lane. `ahead` points to what A is to the next product, of the
// other storage and as large, and is fetched into the second-level cache meanwhile.
template <Storage kStorage, int Vectors, int Rows>
void lane_tile(const float* a, const float* ahead, int64_t a_stride, const float* b, int64_t depth,
               float* c, const float* rescale) {
  constexpr bool kByRows = kStorage == Storage::kRows;
  Floats sum[Rows][Vectors];
#pragma GCC unroll 16
  for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) {
      sum[row][v] = kByRows ? broadcast(0.0f)
                            : mul(load(c + row * kStrip + v * kWidth), load(rescale + v * kWidth));
    }
  }
  for (int64_t k = 0; k < depth; ++k) {
    __builtin_prefetch(ahead + k * (kByRows ? Rows : a_stride), 0, 2);
    Floats lanes[Vectors];
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) lanes[v] = load(b + k * kStrip + v * kWidth);
#pragma GCC unroll 16
    for (int row = 0; row < Rows; ++row) {
      const Floats value = broadcast(a[kByRows ? row * a_stride : row]);
#pragma GCC unroll 16
      for (int v = 0; v < Vectors; ++v) sum[row][v] = fma(value, lanes[v], sum[row][v]);
    }
    a += kByRows ? 1 : a_stride;
    asm("" : "+r"(a));  // as in gemm.h: no pointer for each row
  }
#pragma GCC unroll 16
  for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) store(c + row * kStrip + v * kWidth, sum[row][v]);
  }
}

using LaneTile = void (*)(const float*, const float*, int64_t, const float*, int64_t, float*,
                          const float*);

template <Storage kStorage, int Vectors, int... Rows>
constexpr std::array<LaneTile, sizeof...(Rows)> lane_tiles(std::integer_sequence<int, Rows...>) {
  return {lane_tile<kStorage, Vectors, std::min(Rows + 1, lane_rows(Vectors))>...};
}
template <Storage kStorage, int... Vectors>
constexpr auto lane_tiles_by_width(std::integer_sequence<int, Vectors...>) {
  return std::array{
      lane_tiles<kStorage, Vectors + 1>(std::make_integer_sequence<int, kMostLaneRows>())...};
}

// As lane_tile, for any number of rows and the first `vectors` vectors of a strip.
template <Storage kStorage>
inline void lane_product(const float* a, const float* ahead, int64_t a_stride, int64_t rows,
                         const float* b, int64_t depth, float* c, const float* rescale,
                         int vectors) {
  static constexpr auto kTiles =
      lane_tiles_by_width<kStorage>(std::make_integer_sequence<int, kStripVectors>());
  const int64_t most = lane_rows(vectors);
  for (int64_t row = 0; row < rows; row += most) {
    const int64_t height = std::min(most, rows - row);
    const int64_t at = row * (kStorage == Storage::kRows ? a_stride : 1);
    kTiles[vectors - 1][height - 1](a + at, ahead + at, a_stride, b, depth, c + row * kStrip,
                                    rescale);
  }
}

}  // namespace t2::T2_ISA
