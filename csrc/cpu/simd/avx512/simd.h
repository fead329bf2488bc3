// AVX-512 as of its first servers: products of codes as 16-bit integers, in pairs.
#pragma once

#include "registers.h"

namespace t2::avx512 {

inline bool supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

// A quad of codes is multiplied in two steps: first its elements 0 and 2, then 1 and 3.
constexpr int kSteps = 2;
constexpr int kCodeOffset = 0;   // of the weights' codes, as they are multiplied
constexpr int kCodeBytes = 2;    // of a code of the left side
constexpr int kCodeScratch = 1;  // registers beside those of sums and operands
constexpr bool kWidenCodes = true;

// kWidth codes from k on, to their place in the row.
inline void store_codes(int8_t* row, int64_t k, Floats x) {
  const __m512i whole = _mm512_shuffle_epi32(_mm512_cvtps_epi32(x), _MM_PERM_DBCA);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(row + 2 * k), _mm512_cvtepi32_epi16(whole));
}
template <int Step>
Ints load_codes(const int8_t* quad, int) {
  const Ints codes = _mm512_loadu_si512(quad);
  return _mm512_srai_epi16(Step == 0 ? _mm512_slli_epi16(codes, 8) : codes, 8);
}
template <int Step>
Ints load_codes(const int16_t* quad, int) {
  return _mm512_loadu_si512(quad + Step * 32);
}
inline Ints dot(Ints sum, Ints x, Ints weight) {
  sum = _mm512_add_epi32(sum, _mm512_madd_epi16(x, weight));
  asm("" : "+v"(sum));  // or the compiler adds two products first, and runs out of registers
  return sum;
}

}  // namespace t2::avx512
