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

// What a tile reads of B: panels of codes as they are stored (int8_t), or as load_codes widens them
// (int16_t), each step's in one piece. A tile that keeps B leaves the latter at wide.
template <typename Code>
struct Panels {
  const Code* codes;
  int16_t* wide;
};

template <int Step, int Rows, int NumPanels, bool Keep, typename Code>
inline void add_step(Ints (&sum)[Rows][NumPanels * kParts], const CodeTile& tile,
                     const Panels<Code>& b, int64_t q) {
  constexpr int kVectors = NumPanels * kParts;
  Ints weight[kVectors];
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) {
    const int64_t quad = ((v / kParts) * tile.quads + q) * 64;
    weight[v] = load_codes<Step>(b.codes + quad, v % kParts);
    if constexpr (Keep) store_wide(b.wide + quad, Step, v % kParts, weight[v]);
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

template <int Rows, int NumPanels, bool Keep, typename Code>
void code_tile(const CodeTile& tile, const Panels<Code>& b) {
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
    add_step<0, Rows, NumPanels, Keep>(sum, tile, b, q);
    if constexpr (kSteps == 2) add_step<1, Rows, NumPanels, Keep>(sum, tile, b, q);
  }
#pragma GCC unroll 16
  for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      store(tile.sums + (row * kVectors + v) * kWidth, sum[row][v]);
    }
  }
}

template <typename Code, bool Keep, int Rows, int... NumPanels>
constexpr auto code_tiles_of_height(std::integer_sequence<int, NumPanels...>) {
  using Function = void (*)(const CodeTile&, const Panels<Code>&);
  return std::array<Function, kMaxPanels>{code_tile<Rows, NumPanels + 1, Keep, Code>...};
}
template <typename Code, bool Keep, int... Rows>
constexpr auto code_tiles_of_every_height(std::integer_sequence<int, Rows...>) {
  return std::array{code_tiles_of_height<Code, Keep, Rows + 1>(
      std::make_integer_sequence<int, code_tile_panels(Rows + 1)>())...};
}

// Multiplies tiles, first having been given the panels that they share. Where widening costs time
// and there are many tiles, the first one leaves its panels widened for the others.
class CodeUnit {
 public:
  CodeUnit(const Tiling& tiling, int64_t quads)
      : wide_(kWidenCodes && tiling.tiles > 1 ? new int16_t[tiling.panels * quads * 64] : nullptr) {
  }

  void take(const int8_t* panels, int64_t count) {
    panels_ = panels;
    count_ = count;
    kept_ = false;
  }

  void run(const CodeTile& tile, int64_t rows) {
    if constexpr (kWidenCodes) {
      if (wide_ && kept_) return run<false, int16_t>(tile, rows, {wide_.get(), nullptr});
      if (wide_) {
        kept_ = true;
        return run<true, int8_t>(tile, rows, {panels_, wide_.get()});
      }
    }
    run<false, int8_t>(tile, rows, {panels_, nullptr});
  }

 private:
  template <bool Keep, typename Code>
  void run(const CodeTile& tile, int64_t rows, const Panels<Code>& panels) {
    static constexpr auto kTiles =
        code_tiles_of_every_height<Code, Keep>(std::make_integer_sequence<int, kCodeTileRows>());
    kTiles[rows - 1][count_ - 1](tile, panels);
  }

  const int8_t* panels_ = nullptr;
  int64_t count_ = 0;
  bool kept_ = false;
  std::unique_ptr<int16_t[]> wide_;
};

}  // namespace t2::T2_ISA
