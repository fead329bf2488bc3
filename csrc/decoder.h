// A transformer as the native step runs it; t2engine/model/transformer.py is its description. All
// views are borrowed: whoever calls keeps the tensors alive.
#pragma once

#include <cstdint>
#include <vector>

#include "ops.h"
#include "tensor.h"

namespace t2 {

struct Norm {
  const float* weight;
  const float* bias;  // null: RMSNorm without one; else LayerNorm
};

enum class Activation { kGatedSilu, kGelu, kGeluTanh };

struct DecoderLayer {
  Norm attn_norm;
  Matrix qkv;
  const float *q_norm, *k_norm;  // [head_dim], or null
  Matrix out;
  Norm mlp_norm;
  Matrix up, down;     // up: gate, then up, where the activation is gated
  int64_t down_block;  // Hadamard blocks that mix down's input; 1: none
};

struct Decoder {
  int64_t hidden_size, intermediate_size, vocab_size;
  int64_t num_heads, num_kv_heads, head_dim;
  float norm_eps, scale;
  Activation activation;
  bool parallel_residual;
  std::vector<DecoderLayer> layers;
  Norm final_norm;
  Matrix lm_head;
  Stored<2> embed;                  // [vocab_size, hidden_size]; null: rows of lm_head
  Tensor<const float, 2> cos, sin;  // [positions, rotary_dim / 2]

  int64_t qkv_width() const { return (num_heads + 2 * num_kv_heads) * head_dim; }
};

// One layer's keys and values: prefix [H_kv, P, D], suffix [slots, H_kv, S, D].
struct LayerCache {
  VectorStore<3> prefix_k, prefix_v;
  VectorStore<4> suffix_k, suffix_v;
};

// Pieces of prompts, side by side: the tokens' places, and the keys each prompt has by now.
struct PrefillBatch {
  Tensor<const int64_t, 1> tokens, positions, columns;  // [T]; columns of the prefix store
  Tensor<const int64_t, 1> query_bounds;                // [G + 1]
  Tensor<const int64_t, 2> spans;                       // [M, 2] columns
  Tensor<const int64_t, 1> span_bounds;                 // [G + 1]
};

// One new token for each row. What a sample has drawn is kept by slot.
struct DecodeBatch {
  Tensor<int64_t, 2> history;                              // [slots, capacity] tokens drawn
  Tensor<int64_t, 1> drawn;                                // [slots] how many; at least one
  Tensor<const int64_t, 1> row_slot, prefix_len;           // [R]
  Tensor<const int64_t, 2> segment_columns, segment_rows;  // [M, 2]
};

// How each slot's tokens are drawn, and when its sample has ended.
struct Draws {
  Tensor<const float, 1> temperature;  // [slots], and so are those below
  Tensor<const int64_t, 1> top_k;
  Tensor<const float, 1> top_p, min_p;
  Tensor<const int64_t, 1> seed, prompt, sample;
  Tensor<const int64_t, 1> max_new_tokens, end_set;
  Tensor<const int64_t, 1> end_bounds, end_ids;  // [sets + 1], [E]: the tokens of each end_set
};

// One instruction set's native step.
struct DecoderOps {
  // How large a workspace passes of so many rows need, with logits of logit_rows at a time.
  int64_t (*workspace_floats)(const Decoder& model, int64_t rows, int64_t logit_rows);

  // Stores the pieces' keys and values; hidden [W, hidden_size] of the W wanted tokens.
  void (*prefill)(const Decoder& model, const std::vector<LayerCache>& cache,
                  const PrefillBatch& batch, Tensor<float, 2> hidden,
                  Tensor<const int64_t, 1> wanted, float* workspace, int num_threads);

  // Stores the keys and values of each row's last token; hidden [R, hidden_size] after it.
  void (*decode_hidden)(const Decoder& model, const std::vector<LayerCache>& cache,
                        const DecodeBatch& batch, Tensor<float, 2> hidden, float* workspace,
                        int num_threads);

  // logits [rows, vocab_size] of hidden [rows, hidden_size].
  void (*logits)(const Decoder& model, Tensor<float, 2> logits, Tensor<const float, 2> hidden,
                 float* workspace, int num_threads);

  // Decodes and draws until a row has ended, max_steps are done or max_seconds have passed. Returns
  // the number of steps; ended [R] is 1 for the rows that have.
  int64_t (*decode)(const Decoder& model, const std::vector<LayerCache>& cache,
                    const DecodeBatch& batch, const Draws& draws, Tensor<int64_t, 1> ended,
                    int64_t max_steps, double max_seconds, int64_t logit_rows, float* workspace,
                    int num_threads);
};

}  // namespace t2
