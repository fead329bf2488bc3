// The matrix product under linear and both attentions: C (+)= A B, one accumulator per element of C
// and one multiply-add per k in rising order, whatever the tile. So an element's bits depend on its
// row of A and its column of B alone: not on the rows beside it, the tile, or the threads.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "vector_math.h"

namespace t2::T2_ISA {

constexpr int kPanel = kLanes;  // columns of B in a panel

// B as panels of 16 columns: element (k, n) at data[(n / 16) * panel_stride + k * row_stride + n %
// 16].
struct Panels {
  const float* data;
  int64_t panel_stride;
  int64_t row_stride;
};

// Rows x (NumPanels * 16) elements of C, held in registers over the whole depth.
template <int Rows, int NumPanels>
void gemm_tile(const float* a, int64_t a_stride, Panels b, int64_t depth, float* c,
               int64_t c_stride, bool accumulate) {
  constexpr int kVectors = NumPanels * kParts;
  Floats sum[Rows][kVectors];
#pragma GCC unroll 16
  for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      sum[row][v] = accumulate ? load(c + row * c_stride + v * kWidth) : broadcast(0.0f);
    }
  }
  for (int64_t k = 0; k < depth; ++k) {
    Floats column[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const float* panel = b.data + (v / kParts) * b.panel_stride;
      column[v] = load(panel + k * b.row_stride + (v % kParts) * kWidth);
    }
#pragma GCC unroll 16
    for (int row = 0; row < Rows; ++row) {
      const Floats value = broadcast(a[row * a_stride + k]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[row][v] = fma(value, column[v], sum[row][v]);
    }
  }
#pragma GCC unroll 16
  for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) store(c + row * c_stride + v * kWidth, sum[row][v]);
  }
}

using TileFunction = void (*)(const float*, int64_t, Panels, int64_t, float*, int64_t, bool);

template <int NumPanels, int... Rows>
constexpr std::array<TileFunction, sizeof...(Rows)> tiles(std::integer_sequence<int, Rows...>) {
  return {gemm_tile<Rows + 1, NumPanels>...};
}

// The tile for a number of rows in [1, kTileRows].
template <int NumPanels>
inline TileFunction tile_for(int64_t rows) {
  static constexpr auto kTiles = tiles<NumPanels>(std::make_integer_sequence<int, kTileRows>());
  return kTiles[rows - 1];
}

// C[rows, columns] (+)= A[rows, depth] B[depth, columns], on the calling thread. B has whole
// panels; C is written up to `columns` only.
inline void gemm(const float* a, int64_t a_stride, int64_t rows, Panels b, int64_t depth, float* c,
                 int64_t c_stride, int64_t columns, bool accumulate) {
  constexpr int64_t kWide = kTilePanels * kPanel;
  for (int64_t column = 0; column < columns;) {
    const bool wide = column + kWide <= columns;
    const int64_t width = wide ? kWide : std::min<int64_t>(kPanel, columns - column);
    const Panels panels{b.data + (column / kPanel) * b.panel_stride, b.panel_stride, b.row_stride};
    for (int64_t row = 0; row < rows; row += kTileRows) {
      const int64_t height = std::min<int64_t>(kTileRows, rows - row);
      const TileFunction tile = wide ? tile_for<kTilePanels>(height) : tile_for<1>(height);
      float* to = c + row * c_stride + column;
      if (width % kPanel == 0) {
        tile(a + row * a_stride, a_stride, panels, depth, to, c_stride, accumulate);
        continue;
      }
      float edge[kTileRows * kPanel] = {};
      for (int64_t i = 0; accumulate && i < height; ++i) {
        std::copy_n(to + i * c_stride, width, edge + i * kPanel);
      }
      tile(a + row * a_stride, a_stride, panels, depth, edge, kPanel, accumulate);
      for (int64_t i = 0; i < height; ++i) {
        std::copy_n(edge + i * kPanel, width, to + i * c_stride);
      }
    }
    column += width;
  }
}

}  // namespace t2::T2_ISA
