// Floats as sums of bfloat16 numbers, exactly: eight bits of a float32's 24 in each of three parts,
// the upper, the middle and the lower one. Products of parts are exact in float32.
#pragma once

#include <cstdint>
#include <cstring>

#include "simd.h"

namespace t2::T2_ISA {

constexpr int kFloatParts = 3;  // of the left side

// How many parts a weight's values have: float16 has 11 bits.
template <typename Weight>
constexpr int kWeightParts = 0;
template <>
constexpr int kWeightParts<Float16> = 2;
template <>
constexpr int kWeightParts<Bfloat16> = 1;

inline __m512i upper_bits(Floats x) {
  return _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(int(0xffff0000)));
}

// The upper part of each lane, and in x what is left of it.
inline __m512i take_part(Floats& x) {
  const __m512i part = upper_bits(x);
  x = sub(x, _mm512_castsi512_ps(part));
  return part;
}

// Two rows of a panel, to their row of each part's tile: a word has even's part below odd's.
inline void store_pair(Floats even, Floats odd, int num_parts, char* tiles, int64_t tile_bytes) {
  for (int part = 0; part < num_parts; ++part) {
    const __m512i below = _mm512_srli_epi32(_mm512_castps_si512(even), 16);
    _mm512_store_si512(tiles + part * tile_bytes, _mm512_or_si512(below, upper_bits(odd)));
    take_part(even);
    take_part(odd);
  }
}

// Rows 2 i and 2 i + 1 of a panel, to row i of its parts' tiles.
template <typename Weight>
inline void split_pair(const Weight* rows, char* tiles, int64_t tile_bytes) {
  store_pair(load(rows), load(rows + kWidth), kWeightParts<Weight>, tiles, tile_bytes);
}
inline void split_pair(const Bfloat16* rows, char* tiles, int64_t) {
  alignas(64) static constexpr uint16_t kPairs[] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                    21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                    11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i pairs = _mm512_load_si512(kPairs);
  _mm512_store_si512(tiles, _mm512_permutexvar_epi16(pairs, _mm512_loadu_si512(rows)));
}

// As split_pair of `count` rows, 0 to 2, and zeros.
template <typename Weight>
inline void split_rest(const Weight* rows, int64_t count, char* tiles, int64_t tile_bytes) {
  Weight pair[2 * kWidth] = {};
  if (count > 0) std::memcpy(pair, rows, (count < 2 ? count : 2) * kWidth * sizeof(Weight));
  split_pair(pair, tiles, tile_bytes);
}

// The parts of 32 values, to their row of each part's tile.
inline void store_parts(Floats first, Floats second, char* tiles, int64_t tile_bytes) {
  alignas(64) static constexpr uint16_t kUpper[] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21,
                                                    23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43,
                                                    45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
  const __m512i upper = _mm512_load_si512(kUpper);
  for (int part = 0; part < kFloatParts; ++part) {
    const __m512i below = _mm512_castps_si512(first), above = _mm512_castps_si512(second);
    _mm512_storeu_si512(tiles + part * tile_bytes, _mm512_permutex2var_epi16(below, upper, above));
    take_part(first);
    take_part(second);
  }
}

}  // namespace t2::T2_ISA
