// The matrix unit's registers, by number. Unlike the compiler's intrinsics, loads are ordered after
// the stores before them.
#pragma once

#include <cstdint>

namespace t2::T2_ISA {

constexpr int kTileHeight = 16;   // rows of a tile register
constexpr int kTileBytes = 1024;  // 16 rows of 64 bytes

// All eight registers whole, for as long as this lives.
class WholeTiles {
 public:
  WholeTiles() {
    struct alignas(64) {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } shape;
    asm volatile("ldtilecfg %0" ::"m"(shape));
  }
  ~WholeTiles() { asm volatile("tilerelease"); }
  WholeTiles(const WholeTiles&) = delete;
  WholeTiles& operator=(const WholeTiles&) = delete;
};

template <int kTile>
inline void zero_tile() {
  asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
}
template <int kTile>
inline void load_tile(const void* from, int64_t stride = 64) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(kTile) : "memory");
}
template <int kTile>
inline void store_tile(void* to, int64_t stride = 64) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "i"(kTile) : "memory");
}
// kSum [16, 16] of floats += kLeft [16, 32] times kRight [32, 16], of bfloat16; kRight's rows lie
// in pairs: row 2 i in the lower halves of its words i, row 2 i + 1 in the upper ones.
template <int kSum, int kLeft, int kRight>
inline void multiply_tiles() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kLeft), "i"(kRight)
               : "memory");
}

}  // namespace t2::T2_ISA
