// The host functions of csrc/cuda behind a C interface, for ctypes. Returns an error or null.
#include <cuda_runtime.h>

#include <string>

#include "ops.h"

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

extern "C" {

void configure(int processors, int copies_land_early, unsigned seed) {
  cuda_on_cpu::settings = {processors, copies_land_early != 0, std::mt19937(seed)};
}

// sizes: S, H, D.
const char* merge_states(float* out, float* lse, const float* out_a, const float* lse_a,
                         const float* out_b, const float* lse_b, const int64_t* n) {
  return guarded([&] {
    t2::merge_states_cuda({out, {n[0], n[1], n[2]}}, {lse, {n[0], n[1]}},
                          {out_a, {n[0], n[1], n[2]}}, {lse_a, {n[0], n[1]}},
                          {out_b, {n[0], n[1], n[2]}}, {lse_b, {n[0], n[1]}}, nullptr);
  });
}

// sizes: R, H, D, H_kv, P, G, slots, S.
const char* shared_prefix_attention(float* out, const float* q, const float* prefix_k,
                                    const float* prefix_v, const int64_t* prefix_bounds,
                                    const int64_t* row_bounds, const float* suffix_k,
                                    const float* suffix_v, const int64_t* row_slot,
                                    const int64_t* suffix_len, const int64_t* n, float scale) {
  return guarded([&] {
    t2::shared_prefix_attention_cuda(
        {out, {n[0], n[1], n[2]}}, {q, {n[0], n[1], n[2]}}, {prefix_k, {n[3], n[4], n[2]}},
        {prefix_v, {n[3], n[4], n[2]}}, {prefix_bounds, {n[5], 2}}, {row_bounds, {n[5] + 1}},
        {suffix_k, {n[6], n[3], n[7], n[2]}}, {suffix_v, {n[6], n[3], n[7], n[2]}},
        {row_slot, {n[0]}}, {suffix_len, {n[0]}}, scale, nullptr);
  });
}

}  // extern "C"
