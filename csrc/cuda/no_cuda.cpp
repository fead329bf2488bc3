// Linked in place of the .cu files where there is no nvcc: the same symbols, each refusing.
#include <stdexcept>

#include "../ops.h"

namespace t2 {
namespace {

[[noreturn]] void refuse() { throw std::runtime_error("t2engine was built without CUDA"); }

}  // namespace

void merge_states_cuda(Tensor<float, 3>, Tensor<float, 2>, Tensor<const float, 3>,
                       Tensor<const float, 2>, Tensor<const float, 3>, Tensor<const float, 2>,
                       void*) {
  refuse();
}

void shared_prefix_attention_cuda(Tensor<float, 3>, Tensor<const float, 3>, Tensor<const float, 3>,
                                  Tensor<const float, 3>, Tensor<const int64_t, 2>,
                                  Tensor<const int64_t, 1>, Tensor<const float, 4>,
                                  Tensor<const float, 4>, Tensor<const int64_t, 1>,
                                  Tensor<const int64_t, 1>, float, void*) {
  refuse();
}

std::vector<std::string> cuda_architectures() { return {}; }

}  // namespace t2
