// Eight floats in an AVX2 register, with FMA.
#pragma once

#include <immintrin.h>

#include "../../../tensor.h"

namespace t2::avx2 {

inline bool supported() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("f16c");
}

constexpr int kWidth = 8;            // floats in one Floats
constexpr int kRegisters = 16;       // of Floats
constexpr int kTileRows = 6;         // rows of a GEMM tile: 6 x 2 accumulators of 16 registers
constexpr int kSharingTileRows = 6;  // where several tiles share their columns
constexpr int kTilePanels = 1;       // panels of 16 columns in a GEMM tile
constexpr int kStripPanels = 1;      // likewise of queries in a strip of attention

using Floats = __m256;

inline Floats load(const float* from) { return _mm256_loadu_ps(from); }
inline Floats load(const Bfloat16* from) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
inline Floats load(const Float16* from) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
inline Floats load(const int8_t* from) {
  const __m128i codes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes));
}
inline void store(float* to, Floats x) { _mm256_storeu_ps(to, x); }
inline Floats broadcast(float x) { return _mm256_set1_ps(x); }
inline Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
inline Floats sub(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
inline Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
inline Floats div(Floats a, Floats b) { return _mm256_div_ps(a, b); }
inline Floats max(Floats a, Floats b) { return _mm256_max_ps(a, b); }
inline Floats min(Floats a, Floats b) { return _mm256_min_ps(a, b); }
// value where x >= limit, 0 elsewhere
inline Floats where_at_least(Floats x, Floats limit, Floats value) {
  return _mm256_and_ps(_mm256_cmp_ps(x, limit, _CMP_GE_OQ), value);
}
// Bit i is set where x >= limit in lane i.
inline uint32_t at_least(Floats x, Floats limit) {
  return _mm256_movemask_ps(_mm256_cmp_ps(x, limit, _CMP_GE_OQ));
}
inline Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline Floats round(Floats x) {
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// x * 2^n for integer-valued n in [-252, 254]: in two steps, each an exact power of two.
inline Floats scale_by_power(Floats x, Floats n) {
  const __m256i whole = _mm256_cvtps_epi32(n);
  const __m256i half = _mm256_srai_epi32(whole, 1);
  const __m256i rest = _mm256_sub_epi32(whole, half);
  const __m256i bias = _mm256_set1_epi32(127);
  const Floats first = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
  const Floats second = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
  return mul(mul(x, first), second);
}
// x * 2^n for integer-valued n when both are normal numbers; 0 for x = 1 and n = -127.
inline Floats add_to_exponent(Floats x, Floats n) {
  const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), exponent));
}
// x * 2^n when both are normal numbers and shifted is kShift + n.
inline Floats scale_by_low_bits(Floats x, Floats shifted) {
  const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), exponent));
}
// Lane j of row i goes to lane i of row j.
inline void transpose(Floats (&x)[kWidth]) {
  Floats y[kWidth];
  for (int i = 0; i < 8; i += 2) {
    y[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
    y[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    x[i] = _mm256_shuffle_ps(y[i], y[i + 2], 0x44);
    x[i + 1] = _mm256_shuffle_ps(y[i], y[i + 2], 0xee);
    x[i + 2] = _mm256_shuffle_ps(y[i + 1], y[i + 3], 0x44);
    x[i + 3] = _mm256_shuffle_ps(y[i + 1], y[i + 3], 0xee);
  }
  // Row 4 i + c now holds columns c and c + 4 of rows 4 i to 4 i + 3.
  for (int c = 0; c < 4; ++c) {
    y[c] = _mm256_permute2f128_ps(x[c], x[c + 4], 0x20);
    y[c + 4] = _mm256_permute2f128_ps(x[c], x[c + 4], 0x31);
  }
  for (int i = 0; i < 8; ++i) x[i] = y[i];
}
// Over the lanes, pairing lane i with lane i + half.
inline float reduce_add(Floats x) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}
inline float reduce_max(Floats x) {
  __m128 top = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  top = _mm_max_ps(top, _mm_movehl_ps(top, top));
  return _mm_cvtss_f32(_mm_max_ss(top, _mm_movehdup_ps(top)));
}

using Ints = __m256i;  // kWidth int32s, or the codes that make them

inline Ints load(const int32_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}
inline void store(int32_t* to, Ints x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), x); }
inline Ints broadcast(int32_t x) { return _mm256_set1_epi32(x); }
inline Floats to_floats(Ints x) { return _mm256_cvtepi32_ps(x); }

// A quad of codes is multiplied in two steps, as 16-bit integers: first its elements 0 and 2, then
// 1 and 3.
constexpr int kSteps = 2;
constexpr int kCodeOffset = 0;      // of the weights' codes, as they are multiplied
constexpr int kCodeBytes = 2;       // of a code of the left side
constexpr int kCodeScratch = 1;     // registers beside those of sums and operands
constexpr bool kWidenCodes = true;  // for the tiles after the first

// kWidth codes from k on, to their place in the row.
inline void store_codes(int8_t* row, int64_t k, Floats x) {
  const __m256i whole = _mm256_shuffle_epi32(_mm256_cvtps_epi32(x), 0xd8);
  const __m256i codes = _mm256_permute4x64_epi64(_mm256_packs_epi32(whole, whole), 0x08);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(row + 2 * k), _mm256_castsi256_si128(codes));
}
template <int Step>
Ints load_codes(const int8_t* quad, int part) {
  const Ints codes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(quad) + part);
  return _mm256_srai_epi16(Step == 0 ? _mm256_slli_epi16(codes, 8) : codes, 8);
}
template <int Step>
Ints load_codes(const int16_t* quad, int part) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(quad + Step * 32) + part);
}
inline void store_wide(int16_t* quad, int step, int part, Ints codes) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(quad + step * 32) + part, codes);
}
inline Ints dot(Ints sum, Ints x, Ints weight) {
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(x, weight));
  asm("" : "+x"(sum));  // or the compiler adds two products first, and runs out of registers
  return sum;
}

}  // namespace t2::avx2
