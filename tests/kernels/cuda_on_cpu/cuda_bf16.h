// bfloat16 as it is stored, and its conversions.
#pragma once

#include "tensor.h"

struct __nv_bfloat16 {
  unsigned short bits;
};

inline float __bfloat162float(__nv_bfloat16 x) { return t2::to_float(t2::Bfloat16{x.bits}); }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return {t2::to_bfloat16(x).bits}; }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) { return x.bits; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short x) { return {x}; }
