// C++ backend of t2engine/ops/rms_norm.py.
#include "ops.h"
#include "rows.h"

namespace t2::T2_ISA {

void rms_norm(Tensor<float, 2> out, Tensor<const float, 2> x, Tensor<const float, 1> weight,
              float eps, int num_threads) {
  const int64_t width = x.size(1);
  parallel_rows(num_threads, x.size(0), 4 * width, [&](int64_t row) {
    rms_norm_row(out.data + row * width, x.data + row * width, weight.data, width, eps);
  });
}

}  // namespace t2::T2_ISA
