// The operations of one instruction set. Every file of csrc/cpu that includes this is compiled once
// for each set: T2_ISA names the set and its namespace, and "simd.h" is that set's own.
#pragma once

#include "../ops.h"
#include "../parallel.h"
#include "vector_math.h"

namespace t2::T2_ISA {

void merge_states(Tensor<float, 3> out, Tensor<float, 2> lse, Tensor<const float, 3> out_a,
                  Tensor<const float, 2> lse_a, Tensor<const float, 3> out_b,
                  Tensor<const float, 2> lse_b, int num_threads);
void linear(Tensor<float, 2> out, Tensor<const float, 2> x, Stored<3> panels,
            std::optional<Tensor<const float, 1>> scales,
            std::optional<Tensor<const float, 1>> bias, int num_threads);
void product(Tensor<float, 2> out, Tensor<const float, 2> x, Stored<3> panels,
             std::optional<Tensor<const float, 1>> scales,
             std::optional<Tensor<const float, 1>> bias, bool gated, bool accumulate,
             int num_threads);
void pack_weight(Stored<3> panels, std::optional<Tensor<float, 1>> scales, Stored<2> weight,
                 int num_threads);
void rms_norm(Tensor<float, 2> out, Tensor<const float, 2> x, Tensor<const float, 1> weight,
              float eps, int num_threads);
void layer_norm(Tensor<float, 2> out, Tensor<const float, 2> x, Tensor<const float, 1> weight,
                Tensor<const float, 1> bias, float eps, int num_threads);
void rotary_embedding(Tensor<float, 3> out, Tensor<const float, 3> x, Tensor<const float, 2> cos,
                      Tensor<const float, 2> sin, int num_threads);
void silu_mul(Tensor<float, 2> out, Tensor<const float, 2> gate_up, int num_threads);
void gelu(Tensor<float, 2> out, Tensor<const float, 2> x, bool tanh, int num_threads);
void prefill_attention(Tensor<float, 3> out, Tensor<const float, 3> q, VectorStore<3> k,
                       VectorStore<3> v, Tensor<const int64_t, 1> query_bounds,
                       Tensor<const int64_t, 2> spans, Tensor<const int64_t, 1> span_bounds,
                       float scale, int num_threads);
void tree_attention(Tensor<float, 3> out, Tensor<const float, 3> q, VectorStore<3> prefix_k,
                    VectorStore<3> prefix_v, Tensor<const int64_t, 2> segment_columns,
                    Tensor<const int64_t, 2> segment_rows, VectorStore<4> suffix_k,
                    VectorStore<4> suffix_v, Tensor<const int64_t, 1> row_slot,
                    Tensor<const int64_t, 1> suffix_len, float scale, int num_threads);
void shared_prefix_attention(Tensor<float, 3> out, Tensor<const float, 3> q,
                             Tensor<const float, 3> prefix_k, Tensor<const float, 3> prefix_v,
                             Tensor<const int64_t, 2> prefix_bounds,
                             Tensor<const int64_t, 1> row_bounds, Tensor<const float, 4> suffix_k,
                             Tensor<const float, 4> suffix_v, Tensor<const int64_t, 1> row_slot,
                             Tensor<const int64_t, 1> suffix_len, float scale, int num_threads);
void store_vectors(VectorStore<2> store, Tensor<const int64_t, 1> at,
                   Tensor<const float, 2> vectors, int num_threads);
void sample_tokens(Tensor<int64_t, 1> token, Tensor<float, 1> logprob,
                   Tensor<const float, 2> logits, Tensor<const float, 1> temperature,
                   Tensor<const int64_t, 1> top_k, Tensor<const float, 1> top_p,
                   Tensor<const float, 1> min_p, Tensor<const double, 1> uniform, int num_threads);
void philox_uniform(Tensor<double, 1> out, Tensor<const int64_t, 1> seed,
                    Tensor<const int64_t, 1> prompt, Tensor<const int64_t, 1> sample,
                    Tensor<const int64_t, 1> step, int num_threads);
const DecoderOps& decoder_ops();

}  // namespace t2::T2_ISA
