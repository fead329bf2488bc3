// One pass of rows through the transformer's layers: t2engine/model/transformer.py without the way
// back to Python between operations. Every buffer lies in one workspace, given by the caller.
#pragma once

#include <algorithm>

#include "../decoder.h"
#include "../parallel.h"
#include "product.h"
#include "rows.h"

namespace t2::T2_ISA {

constexpr int64_t kLineFloats = 16;  // of a cache line

inline int64_t whole_lines(int64_t floats) {
  return (floats + kLineFloats - 1) / kLineFloats * kLineFloats;
}

// Of the left side of any of the model's products, so many rows.
inline int64_t most_packed_bytes(const Decoder& model, int64_t rows, int64_t logit_rows) {
  const Matrix& head = model.lm_head;
  int64_t most = packed_bytes(head.dtype, logit_rows, head.in_features);
  for (const DecoderLayer& layer : model.layers) {
    for (const Matrix& weight : {layer.qkv, layer.out, layer.up, layer.down}) {
      most = std::max(most, packed_bytes(weight.dtype, rows, weight.in_features));
    }
  }
  return most;
}

// Where a pass keeps its activations. Counting and handing out are one description.
struct Buffers {
  float *x, *normed, *qkv, *q, *attended, *mlp, *packed, *row_scales, *logits;
  int64_t floats = 0;  // of all

  Buffers(const Decoder& model, float* workspace, int64_t rows, int64_t logit_rows) {
    const auto take = [&](int64_t count) {
      float* taken = workspace + floats;
      floats += whole_lines(count);
      return taken;
    };
    const int64_t query_width = model.num_heads * model.head_dim;
    const int64_t packed_size = most_packed_bytes(model, rows, logit_rows);
    x = take(rows * model.hidden_size);
    normed = take(std::max(rows, logit_rows) * model.hidden_size);
    qkv = take(rows * std::max(model.qkv_width(), model.hidden_size));
    q = take(rows * query_width);
    attended = take(rows * query_width);
    mlp = take(rows * model.intermediate_size);
    packed = take((packed_size + 3) / 4);
    row_scales = take(packed_size > 0 ? std::max(rows, logit_rows) : 0);
    logits = take(logit_rows * model.vocab_size);
  }
};

inline float weight_at(const Matrix& weight, int64_t n, int64_t k) {
  const int64_t at = (n / 16 * weight.in_features + k) * 16 + n % 16;
  switch (weight.dtype) {
    case Dtype::kFloat32:
      return static_cast<const float*>(weight.panels)[at];
    case Dtype::kBfloat16:
      return to_float(static_cast<const Bfloat16*>(weight.panels)[at]);
    case Dtype::kFloat16:
      return to_float(static_cast<const Float16*>(weight.panels)[at]);
    case Dtype::kInt8:
      break;
  }
  const int64_t quads = (weight.in_features + 3) / 4;
  const int64_t code = ((n / 16 * quads + k / 4) * 16 + n % 16) * 4 + k % 4;
  return static_cast<float>(static_cast<const int8_t*>(weight.panels)[code]) * weight.scales[n];
}

inline float stored_at(const Stored<2>& table, int64_t at) {
  switch (table.dtype) {
    case Dtype::kFloat32:
      return static_cast<const float*>(table.data)[at];
    case Dtype::kBfloat16:
      return to_float(static_cast<const Bfloat16*>(table.data)[at]);
    default:
      return to_float(static_cast<const Float16*>(table.data)[at]);
  }
}

class Pass {
 public:
  Pass(const Decoder& model, float* workspace, int64_t rows, int64_t logit_rows, int num_threads)
      : model_(model),
        at_(model, workspace, rows, logit_rows),
        rows_(rows),
        num_threads_(num_threads) {}

  float* logits() const { return at_.logits; }
  const float* hidden(int64_t row) const { return at_.x + row * model_.hidden_size; }

  void embed(const int64_t* tokens) const {
    const int64_t width = model_.hidden_size;
    parallel_rows(num_threads_, rows_, 4 * width, [&](int64_t row) {
      float* to = at_.x + row * width;
      if (model_.embed.data != nullptr && model_.embed.dtype == Dtype::kFloat32) {
        std::copy_n(static_cast<const float*>(model_.embed.data) + tokens[row] * width, width, to);
        return;
      }
      for (int64_t i = 0; i < width; ++i) {
        to[i] = model_.embed.data ? stored_at(model_.embed, tokens[row] * width + i)
                                  : weight_at(model_.lm_head, tokens[row], i);
      }
    });
  }

  // All layers. store(layer, row, kv_head, k, v) keeps a row's new key and value [head_dim];
  // attend(layer, out, q) has queries meet keys, [rows, H, D] both.
  template <typename Store, typename Attend>
  void layers(const int64_t* positions, Store&& store, Attend&& attend) const {
    const int64_t hidden = model_.hidden_size;
    const int64_t query_width = model_.num_heads * model_.head_dim;
    for (size_t index = 0; index < model_.layers.size(); ++index) {
      const DecoderLayer& layer = model_.layers[index];
      const Input attn_input = normalize(at_.x, rows_, layer.attn_norm, layer.qkv);
      multiply(attn_input, layer.qkv, at_.qkv, model_.qkv_width(), false, num_threads_);
      turn(layer, positions, [&](int64_t row, int64_t kv_head, const float* k, const float* v) {
        store(index, row, kv_head, k, v);
      });
      attend(index, heads(at_.attended), heads<const float>(at_.q));
      const Input attended = input(at_.attended, rows_, query_width, layer.out);
      if (model_.parallel_residual) {  // both branches read the layer's input
        // attended is packed where the norm will be
        multiply(attended, layer.out, at_.qkv, hidden, false, num_threads_);
        const Input mlp_input = normalize(at_.x, rows_, layer.mlp_norm, layer.up);
        add_rows(at_.x, at_.qkv);
        feed_forward(layer, mlp_input);
      } else {
        multiply(attended, layer.out, at_.x, hidden, true, num_threads_);
        feed_forward(layer, normalize(at_.x, rows_, layer.mlp_norm, layer.up));
      }
    }
  }

  // out [count, vocab_size] for rows of hidden states [count, hidden_size].
  void logits_of(const float* hidden, int64_t count, float* out) const {
    const Input x = normalize(hidden, count, model_.final_norm, model_.lm_head);
    multiply(x, model_.lm_head, out, model_.vocab_size, false, num_threads_);
  }

 private:
  template <typename T>
  Tensor<T, 3> heads(T* data) const {
    return {data, {rows_, model_.num_heads, model_.head_dim}};
  }

  bool packs(const Matrix& weight) const { return packed_bytes(weight.dtype, 1, 1) > 0; }
  void pack(const float* x, int64_t row, const Matrix& weight) const {
    pack_row(weight.dtype, x, row, weight.in_features, at_.packed, at_.row_scales);
  }

  Input input(const float* values, int64_t rows, int64_t depth, const Matrix& weight) const {
    if (packs(weight)) {
      parallel_rows(num_threads_, rows, 4 * depth,
                    [&](int64_t row) { pack(values + row * depth, row, weight); });
    }
    return {values, rows, depth, at_.packed, at_.row_scales};
  }

  Input normalize(const float* from, int64_t rows, const Norm& norm, const Matrix& weight) const {
    const int64_t width = model_.hidden_size;
    const bool is_packed = packs(weight);
    parallel_rows(num_threads_, rows, 8 * width, [&](int64_t row) {
      float* to = at_.normed + row * width;
      if (norm.bias == nullptr) {
        rms_norm_row(to, from + row * width, norm.weight, width, model_.norm_eps);
      } else {
        layer_norm_row(to, from + row * width, norm.weight, norm.bias, width, model_.norm_eps);
      }
      if (is_packed) pack(to, row, weight);
    });
    return {at_.normed, rows, width, at_.packed, at_.row_scales};
  }

  // Head norms and rotation of queries and keys by their positions; keys and values are stored.
  template <typename Store>
  void turn(const DecoderLayer& layer, const int64_t* positions, Store&& store) const {
    const int64_t D = model_.head_dim, H = model_.num_heads, H_kv = model_.num_kv_heads;
    const int64_t half = model_.cos.size(1);
    parallel_rows(num_threads_, rows_, 8 * model_.qkv_width(), [&](int64_t row) {
      float* qkv = at_.qkv + row * model_.qkv_width();
      const float* cos = model_.cos.data + positions[row] * half;
      const float* sin = model_.sin.data + positions[row] * half;
      for (int64_t head = 0; head < H + H_kv; ++head) {
        float* from = qkv + head * D;
        const float* norm = head < H ? layer.q_norm : layer.k_norm;
        if (norm != nullptr) rms_norm_row(from, from, norm, D, model_.norm_eps);
        float* to = head < H ? at_.q + (row * H + head) * D : from;
        rotate_head(to, from, cos, sin, half, D);
      }
      for (int64_t head = 0; head < H_kv; ++head) {
        store(row, head, qkv + (H + head) * D, qkv + (H + H_kv + head) * D);
      }
    });
  }

  void feed_forward(const DecoderLayer& layer, const Input& x) const {
    const int64_t width = model_.intermediate_size;
    if (model_.activation == Activation::kGatedSilu) {
      multiply_gated(x, layer.up, at_.mlp, width, num_threads_);
    } else {
      multiply(x, layer.up, at_.mlp, width, false, num_threads_);
      parallel_rows(num_threads_, rows_, 40 * width, [&](int64_t row) {
        float* values = at_.mlp + row * width;
        gelu_row(values, values, width, model_.activation == Activation::kGeluTanh);
      });
    }
    if (layer.down_block > 1) {
      parallel_rows(num_threads_, rows_, 20 * width, [&](int64_t row) {
        float* values = at_.mlp + row * width;
        hadamard_row(values, values, width, layer.down_block);
      });
    }
    multiply(input(at_.mlp, rows_, width, layer.down), layer.down, at_.x, model_.hidden_size, true,
             num_threads_);
  }

  void add_rows(float* to, const float* from) const {
    const int64_t width = model_.hidden_size;
    parallel_rows(num_threads_, rows_, width, [&](int64_t row) {
      for (int64_t i = row * width; i < (row + 1) * width; ++i) to[i] += from[i];
    });
  }

  const Decoder& model_;
  Buffers at_;
  int64_t rows_;
  int num_threads_;
};

}  // namespace t2::T2_ISA
