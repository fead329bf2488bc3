// AVX-512 with dot products of bytes (VNNI).
#pragma once

#include "../avx512/registers.h"

namespace t2::avx512vnni {

inline bool supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni");
}

constexpr int kSteps = 1;         // a quad of codes is multiplied at once
constexpr int kCodeOffset = 128;  // the instruction takes one side without sign
constexpr int kCodeBytes = 1;     // of a code of the left side
constexpr int kCodeScratch = 0;   // registers beside those of sums and operands
constexpr bool kWidenCodes = false;

// kWidth codes from k on, to their place in the row.
inline void store_codes(int8_t* row, int64_t k, Floats x) {
  const __m128i codes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(row + k), codes);
}
template <int Step>
Ints load_codes(const int8_t* quad, int) {
  return _mm512_xor_si512(_mm512_loadu_si512(quad), _mm512_set1_epi8(-128));
}
inline Ints dot(Ints sum, Ints x, Ints weight) { return _mm512_dpbusd_epi32(sum, weight, x); }

}  // namespace t2::avx512vnni
