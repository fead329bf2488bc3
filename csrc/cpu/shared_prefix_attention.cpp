// C++ backend of t2engine/ops/shared_prefix_attention.py.
#include <stdexcept>
#include "ops.h"

namespace t2::T2_ISA {

void shared_prefix_attention(Tensor<float, 3> out, Tensor<const float, 3> q,
                             Tensor<const float, 3> prefix_k, Tensor<const float, 3> prefix_v,
                             Tensor<const int64_t, 2> prefix_bounds,
                             Tensor<const int64_t, 1> row_bounds, Tensor<const float, 4> suffix_k,
                             Tensor<const float, 4> suffix_v, Tensor<const int64_t, 1> row_slot,
                             Tensor<const int64_t, 1> suffix_len, float scale, int num_threads) {
  throw std::logic_error("shared_prefix_attention: being written");
}

}  // namespace t2::T2_ISA
