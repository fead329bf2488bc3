// slab_attention of csrc/cuda behind a C interface, for ctypes. Returns an error or null.
#include <cuda_runtime.h>

#include <string>

#include "cuda_ops.h"

namespace {

thread_local std::string error;

}  // namespace

extern "C" {

void configure(int processors, int copies_land_early, unsigned seed) {
  cuda_on_cpu::settings = {processors, copies_land_early != 0, std::mt19937(seed)};
}

// dtype: 0 float32, 1 bfloat16, 2 float16.
// n: H_kv, R, G, D, P, W, spans, states, chunks, T, B.
const char* slab_attention(void* out, void* q, void* prefix_k, void* prefix_v, const int32_t* items,
                           const int32_t* row_states, const int32_t* row_spans,
                           const int32_t* spans, float* state, float* lse, void* slab_k,
                           void* slab_v, const int64_t* row_chunk, const int64_t* first,
                           const int64_t* last, const int64_t* n, float scale, const char* kernel,
                           int dtype) {
  const auto type = t2::Dtype(dtype);
  const int64_t heads = n[0] * n[2];
  try {
    t2::slab_attention_cuda(
        {out, type, {n[1], heads, n[3]}}, {q, type, {n[0], n[1], n[2], n[3]}},
        {prefix_k, type, {n[0], n[4], n[3]}}, {prefix_v, type, {n[0], n[4], n[3]}},
        {items, {n[5], 6}}, {row_states, {n[1] + 1}}, {row_spans, {n[1] + 1}}, {spans, {n[6], 2}},
        {state, {n[7], heads, n[3]}}, {lse, {n[7], heads}},
        {slab_k, type, {n[8], n[0], n[9], n[3]}}, {slab_v, type, {n[8], n[0], n[9], n[3]}},
        {row_chunk, {n[10], n[1]}}, {first, {n[1]}}, {last, {n[1]}}, scale, kernel, nullptr);
    return nullptr;
  } catch (const std::exception& caught) {
    error = caught.what();
    return error.c_str();
  }
}

}  // extern "C"
