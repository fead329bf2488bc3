// C++ backend of t2engine/ops/prefill_attention.py.
#include <stdexcept>
#include "ops.h"

namespace t2::T2_ISA {

void prefill_attention(Tensor<float, 3> out, Tensor<const float, 3> q, Tensor<const float, 3> k,
                       Tensor<const float, 3> v, Tensor<const int64_t, 1> query_bounds,
                       Tensor<const int64_t, 2> key_bounds, float scale, int num_threads) {
  throw std::logic_error("prefill_attention: being written");
}

}  // namespace t2::T2_ISA
