// Tiles of exact products of codes, in the unit's tile registers: 16 rows of 64 codes by a panel's
// 16 quads, which are 64 codes of 16 columns.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "tiles.h"
#include "tiling.h"

namespace t2::T2_ISA {

constexpr int kStepQuads = 16;  // of a panel in a tile register
constexpr int kCodeTileRows = 2 * kTileHeight;
constexpr int code_tile_panels(int rows) { return rows > kTileHeight ? 2 : 4; }

// Registers 0 to 3 hold sums, 4 and 5 rows of A, 6 and 7 panels of B. What is past the depth is
// zero in A, so B may hold anything there, but must not be read past its end.
class CodeUnit {
 public:
  CodeUnit(const Tiling&, int64_t) {}
  CodeUnit(const CodeUnit&) = delete;
  ~CodeUnit() {
    if (rows_ != 0) _tile_release();
  }

  void take(const int8_t* panels, int64_t count) {
    panels_ = panels;
    count_ = count;
  }

  void run(const CodeTile& tile, int64_t rows) {
    if (rows != rows_) configure(static_cast<int>(rows));
    if (rows > kTileHeight) {
      count_ == 1 ? run_high<1>(tile) : run_high<2>(tile);
    } else if (count_ <= 2) {
      count_ == 1 ? run_low<1>(tile) : run_low<2>(tile);
    } else {
      count_ == 3 ? run_low<3>(tile) : run_low<4>(tile);
    }
  }

 private:
  const int8_t* panels_ = nullptr;
  int64_t count_ = 0, rows_ = 0;

  void configure(int rows) {
    struct alignas(64) {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } shape;
    const int upper = std::min(rows, kTileHeight);
    const int lower = rows > kTileHeight ? rows - kTileHeight : upper;
    for (int i = 0; i < 8; ++i) {
      shape.row_bytes[i] = 64;
      shape.rows[i] = kTileHeight;
    }
    for (int i : {0, 1, 4}) shape.rows[i] = static_cast<uint8_t>(upper);
    for (int i : {2, 3, 5}) shape.rows[i] = static_cast<uint8_t>(lower);
    _tile_loadconfig(&shape);
    rows_ = rows;
  }

  // Calls body(a, b) for each step of the depth, b(p) being panel p's 16 quads.
  template <int Panels, typename Body>
  void each_step(const CodeTile& tile, Body body) const {
    const char* ahead = tile.ahead;
    const int64_t panel_bytes = tile.quads * 64;
    for (int64_t q = 0; q + kStepQuads <= tile.quads; q += kStepQuads) {
      for (int i = 0; i < kStepQuads; ++i, ahead += tile.ahead_step) {
        __builtin_prefetch(ahead, 0, 2);
      }
      body(tile.a + q * 4, panels_ + q * 64, panel_bytes);
    }
    const int64_t rest = tile.quads % kStepQuads, done = tile.quads - rest;
    if (rest == 0) return;
    alignas(64) int8_t last[Panels * kTileBytes];
    for (int p = 0; p < Panels; ++p) {
      std::memcpy(last + p * kTileBytes, panels_ + p * panel_bytes + done * 64, rest * 64);
      std::memset(last + p * kTileBytes + rest * 64, 0, kTileBytes - rest * 64);
    }
    body(tile.a + done * 4, last, kTileBytes);
  }

  // More than 16 rows, by one or two panels.
  template <int Panels>
  void run_high(const CodeTile& tile) const {
    const int64_t lower = kTileHeight * tile.a_stride, stride = Panels * 64;
    zero_tile<0>();
    zero_tile<1>();
    zero_tile<2>();
    zero_tile<3>();
    each_step<Panels>(tile, [&](const int8_t* a, const int8_t* b, int64_t panel_bytes) {
      load_tile<4>(a, tile.a_stride);
      load_tile<6>(b);
      _tile_dpbssd(0, 4, 6);
      load_tile<5>(a + lower, tile.a_stride);
      _tile_dpbssd(2, 5, 6);
      if constexpr (Panels > 1) {
        load_tile<7>(b + panel_bytes);
        _tile_dpbssd(1, 4, 7);
        _tile_dpbssd(3, 5, 7);
      }
    });
    int32_t* below = tile.sums + kTileHeight * Panels * kPanel;
    store_tile<0>(tile.sums, stride);
    store_tile<2>(below, stride);
    if constexpr (Panels > 1) {
      store_tile<1>(tile.sums + kPanel, stride);
      store_tile<3>(below + kPanel, stride);
    }
  }

  // At most 16 rows, by one to four panels.
  template <int Panels>
  void run_low(const CodeTile& tile) const {
    const int64_t stride = Panels * 64;
    zero_tile<0>();
    zero_tile<1>();
    zero_tile<2>();
    zero_tile<3>();
    each_step<Panels>(tile, [&](const int8_t* a, const int8_t* b, int64_t panel_bytes) {
      load_tile<4>(a, tile.a_stride);
      load_tile<6>(b);
      _tile_dpbssd(0, 4, 6);
      if constexpr (Panels > 1) {
        load_tile<7>(b + panel_bytes);
        _tile_dpbssd(1, 4, 7);
      }
      if constexpr (Panels > 2) {
        load_tile<6>(b + 2 * panel_bytes);
        _tile_dpbssd(2, 4, 6);
      }
      if constexpr (Panels > 3) {
        load_tile<7>(b + 3 * panel_bytes);
        _tile_dpbssd(3, 4, 7);
      }
    });
    store_tile<0>(tile.sums, stride);
    if constexpr (Panels > 1) store_tile<1>(tile.sums + kPanel, stride);
    if constexpr (Panels > 2) store_tile<2>(tile.sums + 2 * kPanel, stride);
    if constexpr (Panels > 3) store_tile<3>(tile.sums + 3 * kPanel, stride);
  }
};

}  // namespace t2::T2_ISA
