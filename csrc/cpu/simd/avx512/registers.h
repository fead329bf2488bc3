// Sixteen floats in an AVX-512 register: for every instruction set that has them.
#pragma once

#include <immintrin.h>

#include "../../../tensor.h"

namespace t2::T2_ISA {

constexpr int kWidth = 16;           // floats in one Floats
constexpr int kRegisters = 32;       // of Floats
constexpr int kTileRows = 14;        // rows of a GEMM tile that is alone: 14 x 2 accumulators
constexpr int kSharingTileRows = 9;  // of one of several: 9 x 3
constexpr int kTilePanels = 2;       // panels of 16 columns in a GEMM tile
constexpr int kStripPanels = 3;      // likewise of queries in a strip of attention

using Floats = __m512;

inline Floats load(const float* from) { return _mm512_loadu_ps(from); }
inline Floats load(const Bfloat16* from) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
inline Floats load(const Float16* from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
inline Floats load(const int8_t* from) {
  const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes));
}
inline void store(float* to, Floats x) { _mm512_storeu_ps(to, x); }
inline Floats broadcast(float x) { return _mm512_set1_ps(x); }
inline Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
inline Floats sub(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
inline Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
inline Floats div(Floats a, Floats b) { return _mm512_div_ps(a, b); }
inline Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }
inline Floats min(Floats a, Floats b) { return _mm512_min_ps(a, b); }
// value where x >= limit, 0 elsewhere
inline Floats where_at_least(Floats x, Floats limit, Floats value) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, limit, _CMP_GE_OQ), value);
}
// Bit i is set where x >= limit in lane i.
inline uint32_t at_least(Floats x, Floats limit) {
  return _mm512_cmp_ps_mask(x, limit, _CMP_GE_OQ);
}
inline Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Floats round(Floats x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// x * 2^n for integer-valued n in [-252, 254]: in two steps, as on every other machine.
inline Floats scale_by_power(Floats x, Floats n) {
  const __m512i whole = _mm512_cvtps_epi32(n);
  const __m512i half = _mm512_srai_epi32(whole, 1);
  const __m512i rest = _mm512_sub_epi32(whole, half);
  const __m512i bias = _mm512_set1_epi32(127);
  const Floats first = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(half, bias), 23));
  const Floats second = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(rest, bias), 23));
  return mul(mul(x, first), second);
}
// x * 2^n for integer-valued n when both are normal numbers; 0 for x = 1 and n = -127.
inline Floats add_to_exponent(Floats x, Floats n) {
  const __m512i exponent = _mm512_slli_epi32(_mm512_cvtps_epi32(n), 23);
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), exponent));
}
// x * 2^n when both are normal numbers and shifted is kShift + n.
inline Floats scale_by_low_bits(Floats x, Floats shifted) {
  const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(shifted), 23);
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), exponent));
}
// Lane j of row i goes to lane i of row j.
inline void transpose(Floats (&x)[kWidth]) {
  Floats y[kWidth];
  for (int i = 0; i < 16; i += 2) {
    y[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    x[i] = _mm512_shuffle_ps(y[i], y[i + 2], 0x44);
    x[i + 1] = _mm512_shuffle_ps(y[i], y[i + 2], 0xee);
    x[i + 2] = _mm512_shuffle_ps(y[i + 1], y[i + 3], 0x44);
    x[i + 3] = _mm512_shuffle_ps(y[i + 1], y[i + 3], 0xee);
  }
  // Row 4 i + c now holds columns c, c + 4, c + 8 and c + 12 of rows 4 i to 4 i + 3.
  for (int c = 0; c < 4; ++c) {
    const Floats even_top = _mm512_shuffle_f32x4(x[c], x[c + 4], 0x88);
    const Floats odd_top = _mm512_shuffle_f32x4(x[c], x[c + 4], 0xdd);
    const Floats even_bottom = _mm512_shuffle_f32x4(x[c + 8], x[c + 12], 0x88);
    const Floats odd_bottom = _mm512_shuffle_f32x4(x[c + 8], x[c + 12], 0xdd);
    y[c] = _mm512_shuffle_f32x4(even_top, even_bottom, 0x88);
    y[c + 4] = _mm512_shuffle_f32x4(odd_top, odd_bottom, 0x88);
    y[c + 8] = _mm512_shuffle_f32x4(even_top, even_bottom, 0xdd);
    y[c + 12] = _mm512_shuffle_f32x4(odd_top, odd_bottom, 0xdd);
  }
  for (int i = 0; i < 16; ++i) x[i] = y[i];
}
// Over the lanes, pairing lane i with lane i + half.
inline float reduce_add(Floats x) {
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}
inline float reduce_max(Floats x) {
  const __m256 half = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  __m128 top = _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  top = _mm_max_ps(top, _mm_movehl_ps(top, top));
  return _mm_cvtss_f32(_mm_max_ss(top, _mm_movehdup_ps(top)));
}

using Ints = __m512i;  // kWidth int32s, or the codes that make them

inline Ints load(const int32_t* from) { return _mm512_loadu_si512(from); }
inline void store(int32_t* to, Ints x) { _mm512_storeu_si512(to, x); }
inline Ints broadcast(int32_t x) { return _mm512_set1_epi32(x); }
inline Floats to_floats(Ints x) { return _mm512_cvtepi32_ps(x); }

}  // namespace t2::T2_ISA
