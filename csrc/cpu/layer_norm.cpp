// C++ backend of t2engine/ops/layer_norm.py.
#include "ops.h"
#include "rows.h"

namespace t2::T2_ISA {

void layer_norm(Tensor<float, 2> out, Tensor<const float, 2> x, Tensor<const float, 1> weight,
                Tensor<const float, 1> bias, float eps, int num_threads) {
  const int64_t width = x.size(1);
  parallel_rows(num_threads, x.size(0), 7 * width, [&](int64_t row) {
    layer_norm_row(out.data + row * width, x.data + row * width, weight.data, bias.data, width,
                   eps);
  });
}

}  // namespace t2::T2_ISA
