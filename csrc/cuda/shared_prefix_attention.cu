// CUDA backend of t2engine/ops/shared_prefix_attention.py.
#include <stdexcept>
#include "../ops.h"
namespace t2 {
void shared_prefix_attention_cuda(
    Tensor<float, 3> out, Tensor<const float, 3> q, Tensor<const float, 3> prefix_k,
    Tensor<const float, 3> prefix_v, Tensor<const int64_t, 2> prefix_bounds,
    Tensor<const int64_t, 1> row_bounds, Tensor<const float, 4> suffix_k,
    Tensor<const float, 4> suffix_v, Tensor<const int64_t, 1> row_slot,
    Tensor<const int64_t, 1> suffix_len, float scale, void* stream) {
  throw std::logic_error("being written");
}
}
