// AVX-512 beside a unit that multiplies matrices (AMX): what its sets have in common.
#pragma once

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../avx512/registers.h"

namespace t2::T2_ISA {

constexpr unsigned kTileUnit = 1u << 24, kTilesOfBytes = 1u << 25, kTilesOfBfloat16 = 1u << 22;

// Whether the machine has features of leaf 7. Also asks the kernel to let this process have the
// unit's state, once and for good.
inline bool has_tiles(unsigned features) {
  constexpr int kRequestState = 0x1023, kTileData = 18;  // arch_prctl(2)
  unsigned a, b, c, d;
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & features) == features &&
         syscall(SYS_arch_prctl, kRequestState, kTileData) == 0;
}

constexpr int kCodeOffset = 0;  // of the weights' codes, as they are multiplied
constexpr int kCodeBytes = 1;   // of a code of the left side

// kWidth codes from k on, to their place in the row.
inline void store_codes(int8_t* row, int64_t k, Floats x) {
  const __m128i codes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(row + k), codes);
}

}  // namespace t2::T2_ISA
