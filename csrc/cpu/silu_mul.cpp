// C++ backend of t2engine/ops/silu_mul.py.
#include "ops.h"
#include "rows.h"

namespace t2::T2_ISA {

void silu_mul(Tensor<float, 2> out, Tensor<const float, 2> gate_up, int num_threads) {
  const int64_t width = out.size(1);
  parallel_rows(num_threads, out.size(0), 20 * width, [&](int64_t row) {
    const float* gate = gate_up.data + row * 2 * width;
    silu_mul_row(out.data + row * width, gate, gate + width, width);
  });
}

}  // namespace t2::T2_ISA
