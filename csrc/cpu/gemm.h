// The matrix product in float32: C = start + A B, with one accumulator per element of C and one
// multiply-add per k in rising order, whatever the tile. So an element's bits depend on its row of
// A and its column of B alone: not on the rows beside it, the tile, or the threads. B may be stored
// in 16 bits, and is widened (exactly) where it is read.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

#include "tiling.h"

namespace t2::T2_ISA {

constexpr int float_tile_panels(int rows) { return tile_panels(rows, kRegisters); }
inline Tiling float_tiling(int64_t rows) { return {rows, kTileRows, float_tile_panels}; }

// One tile's work. B is panels of 16 columns, one after the other: element (k, n) at
// b[(n / 16) * depth * 16 + k * 16 + n % 16].
template <typename Weight>
struct Tile {
  const float* a;
  const Weight* b;
  int64_t depth;  // also the distance of rows of A
  float* c;
  int64_t c_stride;
  const float* bias;   // of the tile's columns, where the sums start; null for 0
  bool accumulate;     // add the finished sums to C
  const char* ahead;   // memory to bring nearer meanwhile,
  int64_t ahead_step;  // so many bytes further at each k
};

// Rows x (NumPanels * 16) elements of C, held in registers over the whole depth.
template <int Rows, int NumPanels, typename Weight>
void gemm_tile(const Tile<Weight>& tile) {
  constexpr int kVectors = NumPanels * kParts;
  const float* a = tile.a;
  const Weight* b = tile.b;
  const int64_t depth = tile.depth, ahead_step = tile.ahead_step;
  const char* ahead = tile.ahead;
  Floats sum[Rows][kVectors];
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) {
    const Floats start = tile.bias ? load(tile.bias + v * kWidth) : broadcast(0.0f);
#pragma GCC unroll 16
    for (int row = 0; row < Rows; ++row) sum[row][v] = start;
  }
  for (int64_t k = 0; k < depth; ++k) {
    __builtin_prefetch(ahead, 0, 2);  // to read, into the second cache
    ahead += ahead_step;
    Floats column[kVectors];
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      column[v] = load(b + ((v / kParts) * depth + k) * kPanel + (v % kParts) * kWidth);
    }
#pragma GCC unroll 16
    for (int row = 0; row < Rows; ++row) {
      const Floats value = broadcast(a[row * depth + k]);
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) sum[row][v] = fma(value, column[v], sum[row][v]);
    }
  }
#pragma GCC unroll 16
  for (int row = 0; row < Rows; ++row) {
    float* c = tile.c + row * tile.c_stride;
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      if (tile.accumulate) sum[row][v] = add(load(c + v * kWidth), sum[row][v]);
      store(c + v * kWidth, sum[row][v]);
    }
  }
}

template <typename Weight>
using TileFunction = void (*)(const Tile<Weight>&);

template <typename Weight, int Rows, int... Panels>
constexpr auto tiles_of_height(std::integer_sequence<int, Panels...>) {
  return std::array<TileFunction<Weight>, kMaxPanels>{gemm_tile<Rows, Panels + 1, Weight>...};
}
template <typename Weight, int... Rows>
constexpr auto tiles_of_every_height(std::integer_sequence<int, Rows...>) {
  return std::array{tiles_of_height<Weight, Rows + 1>(
      std::make_integer_sequence<int, float_tile_panels(Rows + 1)>())...};
}
template <typename Weight>
constexpr auto kTiles = tiles_of_every_height<Weight>(std::make_integer_sequence<int, kTileRows>());

// A tile that would write past the last column: computed beside C, then copied.
template <typename Weight>
void run_edge(TileFunction<Weight> function, Tile<Weight> tile, int64_t rows, int64_t panels,
              int64_t columns) {
  float edge[kTileRows * kMaxPanels * kPanel], edge_bias[kMaxPanels * kPanel] = {};
  float* c = tile.c;
  const int64_t c_stride = tile.c_stride;
  const bool accumulate = tile.accumulate;
  tile.c = edge;
  tile.c_stride = panels * kPanel;
  tile.accumulate = false;
  if (tile.bias) {
    std::copy_n(tile.bias, columns, edge_bias);
    tile.bias = edge_bias;
  }
  function(tile);
  for (int64_t row = 0; row < rows; ++row, c += c_stride) {
    const float* from = edge + row * tile.c_stride;
    for (int64_t i = 0; i < columns; ++i) c[i] = accumulate ? c[i] + from[i] : from[i];
  }
}

// The tiles of one width, from the first rows to the last. The first `fetching_tiles` bring the
// memory ahead nearer.
template <typename Weight>
void run_tiles(Tile<Weight> tile, const Tiling& tiling, int64_t columns, int64_t fetching_tiles) {
  const int64_t panels = (columns + kPanel - 1) / kPanel;
  for (int64_t i = 0; i < tiling.tiles; ++i) {
    const int64_t height = tiling.height - (i >= tiling.taller);
    if (i == fetching_tiles) {
      tile.ahead = reinterpret_cast<const char*>(tile.b);
      tile.ahead_step = 0;
    }
    const TileFunction<Weight> function = kTiles<Weight>[height - 1][panels - 1];
    if (columns == panels * kPanel) {
      function(tile);
    } else {
      run_edge(function, tile, height, panels, columns);
    }
    tile.a += height * tile.depth;
    tile.c += height * tile.c_stride;
    tile.ahead += tile.ahead_step * tile.depth;
  }
}

// C[rows, columns] = bias + A[rows, depth] B[depth, columns], on the calling thread; added to C
// where it accumulates. While a panel is multiplied, the next one is fetched, up to b_end: with few
// rows, memory takes the time.
template <typename Weight>
void gemm(const float* a, int64_t rows, const Weight* b, const Weight* b_end, int64_t depth,
          float* c, int64_t c_stride, int64_t columns, const float* bias, bool accumulate) {
  const Tiling tiling = float_tiling(rows);
  const int64_t width = tiling.panels * kPanel;
  const bool widens = !std::is_same_v<Weight, float> && tiling.tiles > 1;
  const std::unique_ptr<float[]> wide(widens ? new float[width * depth] : nullptr);
  for (int64_t column = 0; column < columns; column += width) {
    const int64_t here = std::min(width, columns - column);
    const Weight* from = b + column * depth;
    const Weight* next = from + width * depth;
    const int64_t fetching_tiles =
        next < b_end ? std::min(tiling.tiles, kPrefetchRows * tiling.panels) : 0;
    const int64_t ahead_step =
        static_cast<int64_t>(sizeof(Weight)) * width / std::max<int64_t>(1, fetching_tiles);
    const auto tile = [&](auto* panels) {
      return Tile<std::remove_const_t<std::remove_pointer_t<decltype(panels)>>>{
          a,          panels,
          depth,      c + column,
          c_stride,   bias ? bias + column : nullptr,
          accumulate, reinterpret_cast<const char*>(next),
          ahead_step};
    };
    if (widens) {
      const int64_t count = (here + kPanel - 1) / kPanel * kPanel * depth;
      for (int64_t i = 0; i < count; i += kWidth) store(wide.get() + i, load(from + i));
      run_tiles(tile(static_cast<const float*>(wide.get())), tiling, here, fetching_tiles);
    } else {
      run_tiles(tile(from), tiling, here, fetching_tiles);
    }
  }
}

}  // namespace t2::T2_ISA
