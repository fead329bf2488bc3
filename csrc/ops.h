// Every operation's host function. Contracts, shapes and units: t2engine/ops/<name>.py.
// Outputs first, allocated by the caller. Bounds, slots and lengths must lie inside their tensors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tensor.h"

namespace t2 {

// Of in_features with int8 weights: the sum of so many products of two codes fits an int32.
constexpr int64_t kMaxCodes = 1 << 17;

// A packed weight [out_features, in_features] (t2engine/ops/linear.py).
struct Matrix {
  Dtype dtype;
  const void* panels;
  const float* scales;  // int8: [out_features rounded up to 16]; else null
  const float* bias;    // [out_features] or null
  int64_t out_features, in_features;
};

struct DecoderOps;  // csrc/decoder.h

// Keys or values as stored: float32, bfloat16, or int8 codes that are worth their vector's scale.
// scales: one for each vector of data, null where there are none.
template <int Rank>
struct VectorStore {
  Stored<Rank> data;
  float* scales = nullptr;

  int64_t size(int dim) const { return data.size(dim); }
};

// One instruction set's build of every operation of csrc/cpu.
struct CpuOps {
  void (*merge_states)(Tensor<float, 3> out, Tensor<float, 2> lse, Tensor<const float, 3> out_a,
                       Tensor<const float, 2> lse_a, Tensor<const float, 3> out_b,
                       Tensor<const float, 2> lse_b, int num_threads);
  void (*linear)(Tensor<float, 2> out, Tensor<const float, 2> x, Stored<3> panels,
                 std::optional<Tensor<const float, 1>> scales,
                 std::optional<Tensor<const float, 1>> bias, int num_threads);
  // linear, or with it silu_mul of a weight [2 * columns, depth]; otherwise, where it accumulates,
  // added to what is in out. What a decode step is made of, here to be tested alone.
  void (*product)(Tensor<float, 2> out, Tensor<const float, 2> x, Stored<3> panels,
                  std::optional<Tensor<const float, 1>> scales,
                  std::optional<Tensor<const float, 1>> bias, bool gated, bool accumulate,
                  int num_threads);
  void (*pack_weight)(Stored<3> panels, std::optional<Tensor<float, 1>> scales, Stored<2> weight,
                      int num_threads);
  void (*rms_norm)(Tensor<float, 2> out, Tensor<const float, 2> x, Tensor<const float, 1> weight,
                   float eps, int num_threads);
  void (*layer_norm)(Tensor<float, 2> out, Tensor<const float, 2> x, Tensor<const float, 1> weight,
                     Tensor<const float, 1> bias, float eps, int num_threads);
  void (*rotary_embedding)(Tensor<float, 3> out, Tensor<const float, 3> x,
                           Tensor<const float, 2> cos, Tensor<const float, 2> sin, int num_threads);
  void (*silu_mul)(Tensor<float, 2> out, Tensor<const float, 2> gate_up, int num_threads);
  void (*gelu)(Tensor<float, 2> out, Tensor<const float, 2> x, bool tanh, int num_threads);
  void (*hadamard)(Tensor<float, 2> out, Tensor<const float, 2> x, int64_t block, int num_threads);
  void (*prefill_attention)(Tensor<float, 3> out, Tensor<const float, 3> q, VectorStore<3> k,
                            VectorStore<3> v, Tensor<const int64_t, 1> query_bounds,
                            Tensor<const int64_t, 2> spans, Tensor<const int64_t, 1> span_bounds,
                            float scale, int num_threads);
  void (*tree_attention)(Tensor<float, 3> out, Tensor<const float, 3> q, VectorStore<3> prefix_k,
                         VectorStore<3> prefix_v, Tensor<const int64_t, 2> segment_columns,
                         Tensor<const int64_t, 2> segment_rows, VectorStore<4> suffix_k,
                         VectorStore<4> suffix_v, Tensor<const int64_t, 1> row_slot,
                         Tensor<const int64_t, 1> suffix_len, float scale, int num_threads);
  void (*shared_prefix_attention)(Tensor<float, 3> out, Tensor<const float, 3> q,
                                  Tensor<const float, 3> prefix_k, Tensor<const float, 3> prefix_v,
                                  Tensor<const int64_t, 2> prefix_bounds,
                                  Tensor<const int64_t, 1> row_bounds,
                                  Tensor<const float, 4> suffix_k, Tensor<const float, 4> suffix_v,
                                  Tensor<const int64_t, 1> row_slot,
                                  Tensor<const int64_t, 1> suffix_len, float scale,
                                  int num_threads);
  void (*store_vectors)(VectorStore<2> store, Tensor<const int64_t, 1> at,
                        Tensor<const float, 2> vectors, int num_threads);
  void (*sample_tokens)(Tensor<int64_t, 1> token, Tensor<float, 1> logprob,
                        Tensor<const float, 2> logits, Tensor<const float, 1> temperature,
                        Tensor<const int64_t, 1> top_k, Tensor<const float, 1> top_p,
                        Tensor<const float, 1> min_p, Tensor<const double, 1> uniform,
                        int num_threads);
  void (*philox_uniform)(Tensor<double, 1> out, Tensor<const int64_t, 1> seed,
                         Tensor<const int64_t, 1> prompt, Tensor<const int64_t, 1> sample,
                         Tensor<const int64_t, 1> step, int num_threads);
  const DecoderOps* decoder;
};

struct InstructionSet {
  std::string name;
  bool supported;  // by the machine this runs on
  const CpuOps* ops;
};

// Those the compiler could build, the fastest first.
const std::vector<InstructionSet>& instruction_sets();

}  // namespace t2
