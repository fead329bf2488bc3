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

constexpr int64_t kAheadBytes = 2048;
constexpr int64_t kDirectTiles = 3;  // of rows: so few widen B each for itself, and write nothing

// What a tile brings nearer while it multiplies: what it will soon read itself, where it is the
// first of a few to read it and memory takes the time; else its part of the panels that come next.
enum class Fetch { kItsOwn, kNext };
constexpr int64_t kFewTiles = 2;

constexpr int float_tile_panels(int rows) { return tile_panels(rows, kRegisters); }
// Rows that one tile cannot hold are cut into lower ones, which are wider: they load less for each
// multiply-add.
inline Tiling float_tiling(int64_t rows) {
  return {rows, rows > kTileRows ? kSharingTileRows : kTileRows, float_tile_panels};
}

// One tile's work, beside its B, which is panels of 16 columns, one after the other: element (k, n)
// at b[(n / 16) * depth * 16 + k * 16 + n % 16].
struct Tile {
  const float* a;
  int64_t depth;  // also the distance of rows of A
  float* c;
  int64_t c_stride;
  const float* bias;   // of the tile's columns, where the sums start; null for 0
  bool accumulate;     // add the finished sums to C
  const char* ahead;   // memory to bring nearer meanwhile,
  int64_t ahead_step;  // so many bytes further at each k
  float* wide;         // where a tile that keeps B leaves it in float32, in the same order
};

// Rows x (NumPanels * 16) elements of C, held in registers over the whole depth.
template <int Rows, int NumPanels, bool Keep, Fetch kHow, typename Weight>
void gemm_tile(const Tile& tile, const Weight* b) {
  constexpr int kVectors = NumPanels * kParts;
  const float* a = tile.a;
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
    if constexpr (kHow == Fetch::kItsOwn) {
#pragma GCC unroll 8
      for (int panel = 0; panel < NumPanels; ++panel) {
        __builtin_prefetch(b + (panel * depth + k) * kPanel + kAheadBytes / sizeof(Weight), 0, 2);
      }
    } else {
      __builtin_prefetch(ahead, 0, 2);  // to read, into the second cache
      ahead += ahead_step;
    }
    Floats column[kVectors];
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = ((v / kParts) * depth + k) * kPanel + (v % kParts) * kWidth;
      column[v] = load(b + at);
      if constexpr (Keep) store(tile.wide + at, column[v]);
    }
#pragma GCC unroll 16
    for (int row = 0; row < Rows; ++row) {
      const Floats value = broadcast(a[row * depth]);
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) sum[row][v] = fma(value, column[v], sum[row][v]);
    }
    ++a;
    asm("" : "+r"(a));  // or the compiler keeps a pointer to each row, more than it has registers
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
using TileFunction = void (*)(const Tile&, const Weight*);

template <typename Weight, bool Keep, Fetch kHow, int Rows, int... Panels>
constexpr auto tiles_of_height(std::integer_sequence<int, Panels...>) {
  return std::array<TileFunction<Weight>, kMaxPanels>{
      gemm_tile<Rows, Panels + 1, Keep, kHow, Weight>...};
}
template <typename Weight, bool Keep, Fetch kHow, int... Rows>
constexpr auto tiles_of_every_height(std::integer_sequence<int, Rows...>) {
  return std::array{tiles_of_height<Weight, Keep, kHow, Rows + 1>(
      std::make_integer_sequence<int, float_tile_panels(Rows + 1)>())...};
}
template <typename Weight, bool Keep, Fetch kHow>
constexpr auto kTiles =
    tiles_of_every_height<Weight, Keep, kHow>(std::make_integer_sequence<int, kTileRows>());

// One tile of a number of columns that need not fill its panels: then it is computed beside C and
// copied, so as not to write past the last column.
template <bool Keep, Fetch kHow, typename Weight>
void run_tile(Tile tile, const Weight* b, int64_t rows, int64_t columns) {
  const int64_t panels = (columns + kPanel - 1) / kPanel;
  const TileFunction<Weight> function = kTiles<Weight, Keep, kHow>[rows - 1][panels - 1];
  if (columns == panels * kPanel) return function(tile, b);
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
  function(tile, b);
  for (int64_t row = 0; row < rows; ++row, c += c_stride) {
    const float* from = edge + row * tile.c_stride;
    for (int64_t i = 0; i < columns; ++i) c[i] = accumulate ? c[i] + from[i] : from[i];
  }
}

// C[rows, columns] = bias + A[rows, depth] B[depth, columns], on the calling thread; added to C
// where it accumulates. While a panel is multiplied, the next one is fetched, up to b_end: with few
// rows, memory takes the time. With many, the first tile of rows leaves B in float32 for the
// others.
template <typename Weight>
void gemm(const float* a, int64_t rows, const Weight* b, const Weight* b_end, int64_t depth,
          float* c, int64_t c_stride, int64_t columns, const float* bias, bool accumulate) {
  const Tiling tiling = float_tiling(rows);
  const int64_t width = tiling.panels * kPanel;
  const bool widens = !std::is_same_v<Weight, float> && tiling.tiles > kDirectTiles;
  const std::unique_ptr<float[]> wide(widens ? new float[width * depth] : nullptr);
  for (int64_t column = 0; column < columns; column += width) {
    const int64_t here = std::min(width, columns - column);
    const Weight* panels = b + column * depth;
    const Weight* next = panels + width * depth;
    const int64_t fetching_tiles = next < b_end && tiling.tiles > kFewTiles
                                       ? std::min(tiling.tiles, kPrefetchRows * tiling.panels)
                                       : 0;
    const int64_t ahead_step =
        static_cast<int64_t>(sizeof(Weight)) * width / std::max<int64_t>(1, fetching_tiles);
    Tile tile{};
    tile.a = a;
    tile.depth = depth;
    tile.c = c + column;
    tile.c_stride = c_stride;
    tile.bias = bias ? bias + column : nullptr;
    tile.accumulate = accumulate;
    tile.wide = wide.get();
    for (int64_t i = 0; i < tiling.tiles; ++i) {
      const int64_t height = tiling.height - (i >= tiling.taller);
      const bool fetches = i < fetching_tiles;
      tile.ahead_step = fetches ? ahead_step : 0;
      tile.ahead =
          reinterpret_cast<const char*>(fetches ? next : panels) + i * tile.ahead_step * depth;
      if (i == 0 && tiling.tiles <= kFewTiles) {
        run_tile<false, Fetch::kItsOwn>(tile, panels, height, here);
      } else if (!widens) {
        run_tile<false, Fetch::kNext>(tile, panels, height, here);
      } else if (i == 0) {
        run_tile<true, Fetch::kNext>(tile, panels, height, here);
      } else {
        run_tile<false, Fetch::kNext>(tile, static_cast<const float*>(wide.get()), height, here);
      }
      tile.a += height * depth;
      tile.c += height * c_stride;
    }
  }
}

}  // namespace t2::T2_ISA
