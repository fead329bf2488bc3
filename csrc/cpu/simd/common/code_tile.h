// Tiles of exact products of codes, in vector registers. Sets with a unit for matrices have their
// own file of this name.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

#include "tiling.h"

namespace t2::T2_ISA {

constexpr int kCodeTileRows = kTileRows;
constexpr int code_tile_panels(int rows) { return tile_panels(rows, kRegisters - kCodeScratch); }

template <int Step, int Rows, int NumPanels, typename Code>
inline void add_step(Ints (&sum)[Rows][NumPanels * kParts], const CodeTile& tile, const Code* b,
                     int64_t q) {
  constexpr int kVectors = NumPanels * kParts;
  Ints weight[kVectors];
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) {
    weight[v] = load_codes<Step>(b + ((v / kParts) * tile.quads + q) * 64, v % kParts);
  }
#pragma GCC unroll 16
  for (int row = 0; row < Rows; ++row) {
    int32_t codes;
    std::memcpy(&codes, tile.a + row * tile.a_stride + (q * kSteps + Step) * 4, sizeof codes);
    const Ints x = broadcast(codes);
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) sum[row][v] = dot(sum[row][v], x, weight[v]);
  }
}

template <int Rows, int NumPanels, typename Code>
void code_tile(const CodeTile& tile, const Code* b) {
  constexpr int kVectors = NumPanels * kParts;
  const char* ahead = tile.ahead;
  Ints sum[Rows][kVectors];
#pragma GCC unroll 16
  for (int row = 0; row < Rows; ++row) {
    const Ints start = broadcast(tile.start[row * tile.a_stride / 4]);
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) sum[row][v] = start;
  }
  for (int64_t q = 0; q < tile.quads; ++q) {
    __builtin_prefetch(ahead, 0, 2);
    ahead += tile.ahead_step;
    add_step<0, Rows, NumPanels>(sum, tile, b, q);
    if constexpr (kSteps == 2) add_step<1, Rows, NumPanels>(sum, tile, b, q);
  }
#pragma GCC unroll 16
  for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      store(tile.sums + (row * kVectors + v) * kWidth, sum[row][v]);
    }
  }
}

template <typename Code, int Rows, int... Panels>
constexpr auto code_tiles_of_height(std::integer_sequence<int, Panels...>) {
  using Function = void (*)(const CodeTile&, const Code*);
  return std::array<Function, kMaxPanels>{code_tile<Rows, Panels + 1, Code>...};
}
template <typename Code, int... Rows>
constexpr auto code_tiles_of_every_height(std::integer_sequence<int, Rows...>) {
  return std::array{code_tiles_of_height<Code, Rows + 1>(
      std::make_integer_sequence<int, code_tile_panels(Rows + 1)>())...};
}

// Codes as 16-bit integers, the two halves of each quad apart: what load_codes makes of codes as
// they are stored, made once for many rows.
inline void widen_codes(int16_t* wide, const int8_t* codes, int64_t quads) {
  if constexpr (kWidenCodes) {
    for (int64_t q = 0; q < quads; ++q, codes += 64, wide += 64) {
      for (int part = 0; part < kParts; ++part) {
        int32_t pairs[kWidth];
        store(pairs, load_codes<0>(codes, part));
        std::memcpy(wide + part * 2 * kWidth, pairs, sizeof pairs);
        store(pairs, load_codes<1>(codes, part));
        std::memcpy(wide + 32 + part * 2 * kWidth, pairs, sizeof pairs);
      }
    }
  }
}

// Multiplies tiles, first having been given the panels that they share.
class CodeUnit {
 public:
  CodeUnit(const Tiling& tiling, int64_t quads)
      : quads_(quads),
        wide_(kWidenCodes && tiling.tiles > 1 ? new int16_t[tiling.panels * quads * 64] : nullptr) {
  }

  void take(const int8_t* panels, int64_t count) {
    panels_ = panels;
    count_ = count;
    if (wide_) widen_codes(wide_.get(), panels, count * quads_);
  }

  void run(const CodeTile& tile, int64_t rows) {
    if constexpr (kWidenCodes) {
      if (wide_) return run(tile, rows, static_cast<const int16_t*>(wide_.get()));
    }
    run(tile, rows, panels_);
  }

 private:
  template <typename Code>
  void run(const CodeTile& tile, int64_t rows, const Code* panels) {
    static constexpr auto kTiles =
        code_tiles_of_every_height<Code>(std::make_integer_sequence<int, kCodeTileRows>());
    kTiles[rows - 1][count_ - 1](tile, panels);
  }

  int64_t quads_, count_ = 0;
  const int8_t* panels_ = nullptr;
  std::unique_ptr<int16_t[]> wide_;
};

}  // namespace t2::T2_ISA
