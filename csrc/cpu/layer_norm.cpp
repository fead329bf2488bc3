// C++ backend of t2engine/ops/layer_norm.py.
#include <stdexcept>
#include "ops.h"

namespace t2::T2_ISA {

void layer_norm(Tensor<float, 2> out, Tensor<const float, 2> x, Tensor<const float, 1> weight,
                Tensor<const float, 1> bias, float eps, int num_threads) {
  throw std::logic_error("layer_norm: being written");
}

}  // namespace t2::T2_ISA
