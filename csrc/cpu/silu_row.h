// SiLU's product on one row, for t2engine/ops/silu_mul.py and for the gated product.
#pragma once

#include <cstdint>

#include "vector_math.h"

namespace t2::T2_ISA {

// out[i] = silu(gate[i]) * up[i]
inline void silu_mul_row(float* out, const float* gate, const float* up, int64_t width) {
  const Lanes zero = broadcast_lanes(0.0f), one = broadcast_lanes(1.0f);
  for (int64_t i = 0; i < width; i += kLanes) {
    const int64_t rest = width - i;
    const Lanes x = load_rest(gate + i, rest, 0.0f);
    const Lanes silu = div(x, add(one, exp(sub(zero, x))));
    store_rest(out + i, rest, mul(silu, load_rest(up + i, rest, 0.0f)));
  }
}

}  // namespace t2::T2_ISA
