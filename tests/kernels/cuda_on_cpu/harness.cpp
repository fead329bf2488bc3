// The host functions of csrc/cuda behind a C interface, for ctypes: each takes the operation's
// tensors, outputs first, and its number. Returns an error or null.
#include <cuda_runtime.h>

#include <algorithm>
#include <string>

#include "cuda_ops.h"

namespace {

thread_local std::string error;

template <typename Function>
const char* guarded(Function function) {
  try {
    function();
    return nullptr;
  } catch (const std::exception& caught) {
    error = caught.what();
    return error.c_str();
  }
}

}  // namespace

struct Array {
  void* data;
  int dtype;  // a t2::Dtype, where it is one
  int64_t sizes[4];

  template <typename T, int Rank>
  operator t2::Tensor<T, Rank>() const {
    t2::Tensor<T, Rank> tensor;
    tensor.data = static_cast<T*>(data);
    std::copy_n(sizes, Rank, tensor.sizes);
    return tensor;
  }
  template <int Rank>
  operator t2::Stored<Rank>() const {
    t2::Stored<Rank> stored;
    stored.data = data;
    stored.dtype = static_cast<t2::Dtype>(dtype);
    std::copy_n(sizes, Rank, stored.sizes);
    return stored;
  }
};

extern "C" {

void configure(int processors, int copies_land_early, unsigned seed) {
  cuda_on_cpu::settings = {processors, copies_land_early != 0, std::mt19937(seed)};
}

const char* merge_states(const Array* a, float) {
  return guarded([&] { t2::merge_states_cuda(a[0], a[1], a[2], a[3], a[4], a[5], nullptr); });
}

const char* rms_norm(const Array* a, float eps) {
  return guarded([&] { t2::rms_norm_cuda(a[0], a[1], a[2], eps, nullptr); });
}

const char* silu_mul(const Array* a, float) {
  return guarded([&] { t2::silu_mul_cuda(a[0], a[1], nullptr); });
}

const char* rope_append(const Array* a, float eps) {
  return guarded([&] {
    t2::rope_append_cuda(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11],
                         a[12], eps, nullptr);
  });
}

const char* sample_tokens(const Array* a, float) {
  return guarded(
      [&] { t2::sample_tokens_cuda(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], nullptr); });
}

const char* philox_uniform(const Array* a, float) {
  return guarded([&] { t2::philox_uniform_cuda(a[0], a[1], a[2], a[3], a[4], nullptr); });
}

const char* step_update(const Array* a, float) {
  return guarded([&] {
    t2::step_update_cuda(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11],
                         a[12], a[13], a[14], a[15], a[16], nullptr);
  });
}

}  // extern "C"
