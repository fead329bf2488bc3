// C++ backend of t2engine/ops/hadamard.py.
#include "ops.h"
#include "rows.h"

namespace t2::T2_ISA {

void hadamard(Tensor<float, 2> out, Tensor<const float, 2> x, int64_t block, int num_threads) {
  const int64_t width = x.size(1);
  parallel_rows(num_threads, x.size(0), 20 * width, [&](int64_t row) {
    hadamard_row(out.data + row * width, x.data + row * width, width, block);
  });
}

}  // namespace t2::T2_ISA
