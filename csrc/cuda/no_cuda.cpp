// Linked in place of the .cu files where there is no nvcc: the same symbols, each refusing.
#include <stdexcept>

#include "../cuda_ops.h"

namespace t2 {
namespace {

[[noreturn]] void refuse() { throw std::runtime_error("t2engine was built without CUDA"); }

}  // namespace

void merge_states_cuda(Tensor<float, 3>, Tensor<float, 2>, Tensor<const float, 3>,
                       Tensor<const float, 2>, Tensor<const float, 3>, Tensor<const float, 2>,
                       void*) {
  refuse();
}

void rms_norm_cuda(Stored<2>, Stored<2>, Stored<1>, float, void*) { refuse(); }

void silu_mul_cuda(Stored<2>, Stored<2>, void*) { refuse(); }

void rope_append_cuda(Stored<4>, Stored<2>, Stored<1>, Stored<1>, Stored<1>, Tensor<const float, 2>,
                      Tensor<const float, 2>, Tensor<const int64_t, 1>, Tensor<const int64_t, 1>,
                      Tensor<const int64_t, 1>, Tensor<const int64_t, 2>, Stored<4>, Stored<4>,
                      float, void*) {
  refuse();
}

void slab_attention_cuda(Stored<3>, Stored<4>, Stored<3>, Stored<3>, Tensor<const int32_t, 2>,
                         Tensor<const int32_t, 1>, Tensor<const int32_t, 1>,
                         Tensor<const int32_t, 2>, Tensor<float, 3>, Tensor<float, 2>, Stored<4>,
                         Stored<4>, Tensor<const int64_t, 2>, Tensor<const int64_t, 1>,
                         Tensor<const int64_t, 1>, float, const std::string&, void*) {
  refuse();
}

void sample_tokens_cuda(Tensor<int64_t, 1>, Tensor<float, 1>, Stored<2>, Tensor<const float, 1>,
                        Tensor<const int64_t, 1>, Tensor<const float, 1>, Tensor<const float, 1>,
                        Tensor<const double, 1>, void*) {
  refuse();
}

void philox_uniform_cuda(Tensor<double, 1>, Tensor<const int64_t, 1>, Tensor<const int64_t, 1>,
                         Tensor<const int64_t, 1>, Tensor<const int64_t, 1>, void*) {
  refuse();
}

void step_update_cuda(Tensor<const int64_t, 1>, Tensor<int64_t, 1>, Tensor<int64_t, 1>,
                      Tensor<int64_t, 1>, Tensor<int64_t, 1>, Tensor<int64_t, 1>,
                      Tensor<int64_t, 2>, Stored<2>, Tensor<double, 1>, Tensor<const int64_t, 1>,
                      Tensor<const int64_t, 1>, Tensor<const int64_t, 1>, Tensor<const int64_t, 1>,
                      Tensor<const int64_t, 1>, Tensor<const int64_t, 1>, Tensor<const int64_t, 1>,
                      Stored<2>, void*) {
  refuse();
}

std::vector<std::string> cuda_architectures() { return {}; }

}  // namespace t2
