// C++ backend of t2engine/ops/rotary_embedding.py.
#include "ops.h"
#include "rows.h"

namespace t2::T2_ISA {

void rotary_embedding(Tensor<float, 3> out, Tensor<const float, 3> x, Tensor<const float, 2> cos,
                      Tensor<const float, 2> sin, int num_threads) {
  const int64_t heads = x.size(1), head_dim = x.size(2), half = cos.size(1);
  parallel_rows(num_threads, x.size(0), 4 * heads * head_dim, [&](int64_t row) {
    for (int64_t head = row * heads; head < (row + 1) * heads; ++head) {
      rotate_head(out.data + head * head_dim, x.data + head * head_dim, cos.data + row * half,
                  sin.data + row * half, half, head_dim);
    }
  });
}

}  // namespace t2::T2_ISA
