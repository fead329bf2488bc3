// C++ backend of t2engine/ops/philox_uniform.py.
#include <stdexcept>
#include "ops.h"

namespace t2::T2_ISA {

void philox_uniform(Tensor<double, 1> out, Tensor<const int64_t, 1> seed,
                    Tensor<const int64_t, 1> prompt, Tensor<const int64_t, 1> sample,
                    Tensor<const int64_t, 1> step, int num_threads) {
  throw std::logic_error("philox_uniform: being written");
}

}  // namespace t2::T2_ISA
