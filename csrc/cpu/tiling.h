// How the matrix products are cut into tiles that are held in registers.
#pragma once

#include <algorithm>
#include <cstdint>

#include "vector_math.h"

namespace t2::T2_ISA {

constexpr int kPanel = kLanes;    // columns of B in a panel
constexpr int kMaxPanels = 8;     // of a tile: more streams of B than this gain nothing
constexpr int kPrefetchRows = 8;  // tiles that share the fetching of one panel of the next tiles

// How many panels a tile of so many rows has registers for: its accumulators, the vectors of one
// operand at one k, and one of the other operand.
constexpr int tile_panels(int rows, int registers) {
  int panels = 1;
  while (panels < kMaxPanels) {
    const int vectors = (panels + 1) * kParts;
    if (rows * vectors + (rows < vectors ? rows : vectors) + 1 > registers) break;
    ++panels;
  }
  return panels;
}

// How rows are cut into tiles: the first `taller` have `height` rows, the others one less.
struct Tiling {
  int64_t tiles, height, taller;
  int64_t panels;  // in the width of a tile

  Tiling(int64_t rows, int tile_rows, int (*panels_of)(int)) {
    tiles = std::max<int64_t>(1, (rows + tile_rows - 1) / tile_rows);
    height = (rows + tiles - 1) / tiles;
    taller = rows - tiles * (height - 1);
    panels = panels_of(static_cast<int>(std::max<int64_t>(1, height)));
  }
};

// A tile of products of codes: rows of A by panels of B, each quads x 64 codes.
struct CodeTile {
  const int8_t* a;
  int64_t a_stride;      // in bytes, a multiple of 4
  const int32_t* start;  // of the sums of each row, a_stride apart
  int64_t quads;
  int32_t* sums;       // [rows, panels * 16]
  const char* ahead;   // memory to bring nearer meanwhile,
  int64_t ahead_step;  // so many bytes further at each quad
};

}  // namespace t2::T2_ISA
