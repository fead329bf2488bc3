// The operations that run on an NVIDIA GPU, one source file of csrc/cuda/ each. Contracts, shapes
// and units: t2engine/ops. Outputs come first, allocated by the caller; work goes to `stream`. A
// Stored without data is an argument that is not there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor.h"

namespace t2 {

void merge_states_cuda(Tensor<float, 3> out, Tensor<float, 2> lse, Tensor<const float, 3> out_a,
                       Tensor<const float, 2> lse_a, Tensor<const float, 3> out_b,
                       Tensor<const float, 2> lse_b, void* stream);

void rms_norm_cuda(Stored<2> out, Stored<2> x, Stored<1> weight, float eps, void* stream);

void silu_mul_cuda(Stored<2> out, Stored<2> x, void* stream);

void rope_append_cuda(Stored<4> out, Stored<2> qkv, Stored<1> bias, Stored<1> q_norm,
                      Stored<1> k_norm, Tensor<const float, 2> cos, Tensor<const float, 2> sin,
                      Tensor<const int64_t, 1> position, Tensor<const int64_t, 1> time,
                      Tensor<const int64_t, 1> alive, Tensor<const int64_t, 2> row_chunk,
                      Stored<4> slab_k, Stored<4> slab_v, float eps, void* stream);

// items, row_states, row_spans and spans: t2engine/ops/_attention_plan.py. kernel: of the prefix,
// as named in t2engine/ops/_prefix_choices.py, whose tiles the items were cut for.
void slab_attention_cuda(Stored<3> out, Stored<4> q, Stored<3> prefix_k, Stored<3> prefix_v,
                         Tensor<const int32_t, 2> items, Tensor<const int32_t, 1> row_states,
                         Tensor<const int32_t, 1> row_spans, Tensor<const int32_t, 2> spans,
                         Tensor<float, 3> state, Tensor<float, 2> lse, Stored<4> slab_k,
                         Stored<4> slab_v, Tensor<const int64_t, 2> row_chunk,
                         Tensor<const int64_t, 1> first, Tensor<const int64_t, 1> last, float scale,
                         const std::string& kernel, void* stream);

void sample_tokens_cuda(Tensor<int64_t, 1> token, Tensor<float, 1> logprob, Stored<2> logits,
                        Tensor<const float, 1> temperature, Tensor<const int64_t, 1> top_k,
                        Tensor<const float, 1> top_p, Tensor<const float, 1> min_p,
                        Tensor<const double, 1> uniform, void* stream);

void philox_uniform_cuda(Tensor<double, 1> out, Tensor<const int64_t, 1> seed,
                         Tensor<const int64_t, 1> prompt, Tensor<const int64_t, 1> sample,
                         Tensor<const int64_t, 1> step, void* stream);

void step_update_cuda(Tensor<const int64_t, 1> token, Tensor<int64_t, 1> alive,
                      Tensor<int64_t, 1> drawn, Tensor<int64_t, 1> position,
                      Tensor<int64_t, 1> first, Tensor<int64_t, 1> last,
                      Tensor<int64_t, 2> drawn_tokens, Stored<2> hidden, Tensor<double, 1> uniform,
                      Tensor<const int64_t, 1> max_new_tokens, Tensor<const int64_t, 1> end_set,
                      Tensor<const int64_t, 1> end_bounds, Tensor<const int64_t, 1> end_ids,
                      Tensor<const int64_t, 1> seed, Tensor<const int64_t, 1> prompt,
                      Tensor<const int64_t, 1> sample, Stored<2> embed, void* stream);

// The architectures that CUDA code was compiled for, empty when it was not.
std::vector<std::string> cuda_architectures();

}  // namespace t2
