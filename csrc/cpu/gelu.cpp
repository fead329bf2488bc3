// C++ backend of t2engine/ops/gelu.py.
#include "ops.h"
#include "rows.h"

namespace t2::T2_ISA {

void gelu(Tensor<float, 2> out, Tensor<const float, 2> x, bool tanh, int num_threads) {
  const int64_t width = x.size(1);
  parallel_rows(num_threads, x.size(0), 40 * width, [&](int64_t row) {
    gelu_row(out.data + row * width, x.data + row * width, width, tanh);
  });
}

}  // namespace t2::T2_ISA
