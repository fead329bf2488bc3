// C++ backend of t2engine/ops/philox_uniform.py.
#include "ops.h"
#include "sampling.h"

namespace t2::T2_ISA {

void philox_uniform(Tensor<double, 1> out, Tensor<const int64_t, 1> seed,
                    Tensor<const int64_t, 1> prompt, Tensor<const int64_t, 1> sample,
                    Tensor<const int64_t, 1> step, int num_threads) {
  parallel_rows(num_threads, out.size(0), 100, [&](int64_t row) {
    out.data[row] = uniform_of(seed.data[row], prompt.data[row], sample.data[row], step.data[row]);
  });
}

}  // namespace t2::T2_ISA
