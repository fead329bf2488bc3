// C++ backend of t2engine/ops/silu_mul.py.
#include "ops.h"

namespace t2::T2_ISA {

void silu_mul(Tensor<float, 2> out, Tensor<const float, 2> gate_up, int num_threads) {
  const int64_t width = out.size(1);
  const Lanes zero = broadcast_lanes(0.0f), one = broadcast_lanes(1.0f);
  parallel_rows(num_threads, out.size(0), 20 * width, [&](int64_t row) {
    const float* gate = gate_up.data + row * 2 * width;
    const float* up = gate + width;
    for (int64_t i = 0; i < width; i += kLanes) {
      const int64_t rest = width - i;
      const Lanes x = load_rest(gate + i, rest, 0.0f);
      const Lanes silu = div(x, add(one, exp(sub(zero, x))));
      store_rest(out.data + row * width + i, rest, mul(silu, load_rest(up + i, rest, 0.0f)));
    }
  });
}

}  // namespace t2::T2_ISA
