// Sixteen floats in an AVX-512 register.
#pragma once

#include <immintrin.h>

namespace t2::avx512 {

inline bool supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

constexpr int kWidth = 16;  // floats in one Floats
constexpr int kTileRows = 12;    // rows of a GEMM tile: 12 x 2 accumulators of 32 registers
constexpr int kTilePanels = 2;   // panels of 16 columns in a GEMM tile

using Floats = __m512;

inline Floats load(const float* from) { return _mm512_loadu_ps(from); }
inline void store(float* to, Floats x) { _mm512_storeu_ps(to, x); }
inline Floats broadcast(float x) { return _mm512_set1_ps(x); }
inline Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
inline Floats sub(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
inline Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
inline Floats div(Floats a, Floats b) { return _mm512_div_ps(a, b); }
inline Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }
inline Floats min(Floats a, Floats b) { return _mm512_min_ps(a, b); }
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

}  // namespace t2::avx512
