// Half precision as it is stored, and its conversions.
#pragma once

#include "tensor.h"

struct __half {
  unsigned short bits;
};

inline float __half2float(__half x) { return t2::to_float(t2::Float16{x.bits}); }
inline __half __float2half_rn(float x) { return {t2::to_float16(x).bits}; }
inline unsigned short __half_as_ushort(__half x) { return x.bits; }
inline __half __ushort_as_half(unsigned short x) { return {x}; }
