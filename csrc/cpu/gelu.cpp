// C++ backend of t2engine/ops/gelu.py.
#include <stdexcept>
#include "ops.h"

namespace t2::T2_ISA {

void gelu(Tensor<float, 2> out, Tensor<const float, 2> x, bool tanh, int num_threads) {
  throw std::logic_error("gelu: being written");
}

}  // namespace t2::T2_ISA
