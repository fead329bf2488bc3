// C++ backend of t2engine/ops/sample_tokens.py.
#include <stdexcept>
#include "ops.h"

namespace t2::T2_ISA {

void sample_tokens(Tensor<int64_t, 1> token, Tensor<float, 1> logprob,
                   Tensor<const float, 2> logits, Tensor<const float, 1> temperature,
                   Tensor<const int64_t, 1> top_k, Tensor<const float, 1> top_p,
                   Tensor<const float, 1> min_p, Tensor<const double, 1> uniform, int num_threads) {
  throw std::logic_error("sample_tokens: being written");
}

}  // namespace t2::T2_ISA
