#include "native_decoder.h"

#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "python_checks.h"
#include "python_tensors.h"

namespace t2 {
namespace {

// A weight as Python holds it: (panels, scales, bias, out_features, in_features).
using MatrixParts = std::tuple<Stored<1>, std::optional<Host<const float, 1>>,
                               std::optional<Host<const float, 1>>, int64_t, int64_t>;
using NormParts = std::pair<Host<const float, 1>, std::optional<Host<const float, 1>>>;

Matrix matrix(const MatrixParts& parts, int64_t out_features, int64_t in_features) {
  const auto& [panels, scales, bias, rows, columns] = parts;
  const bool is_int8 = panels.dtype == Dtype::kInt8;
  const int64_t width = (rows + 15) / 16 * 16;
  const int64_t depth = is_int8 ? (columns + 3) / 4 * 4 : columns;
  require(rows == out_features && columns == in_features && panels.size(0) == width * depth &&
              is_int8 == scales.has_value() && (!scales || scales->size(0) == width) &&
              (!bias || bias->size(0) == rows),
          "decoder: a packed weight does not have the model's shape");
  return {panels.dtype, panels.data, scales ? scales->data : nullptr, bias ? bias->data : nullptr,
          rows,         columns};
}

Norm norm(const NormParts& parts, int64_t width) {
  require(parts.first.size(0) == width && (!parts.second || parts.second->size(0) == width),
          "decoder: a norm does not have the model's width");
  return {parts.first.data, parts.second ? parts.second->data : nullptr};
}

const float* head_norm(const py::dict& layer, const char* name, int64_t head_dim) {
  const auto weight = layer[name].cast<std::optional<Host<const float, 1>>>();
  if (!weight) return nullptr;
  require(weight->size(0) == head_dim, "decoder: a head norm does not have head_dim weights");
  return weight->data;
}

int64_t hadamard_block(int64_t block, int64_t width) {
  require(block >= 1 && (block & (block - 1)) == 0 && width % block == 0,
          "decoder: down_block must be a power of two that divides intermediate_size");
  return block;
}

DecoderLayer read_layer(const Decoder& model, const py::dict& layer) {
  const int64_t hidden = model.hidden_size, width = model.intermediate_size;
  const int64_t up_width = model.activation == Activation::kGatedSilu ? 2 * width : width;
  const int64_t query_width = model.num_heads * model.head_dim;
  const auto weight = [&](const char* name, int64_t rows, int64_t columns) {
    return matrix(layer[name].cast<MatrixParts>(), rows, columns);
  };
  return {norm(layer["attn_norm"].cast<NormParts>(), hidden),
          weight("qkv", model.qkv_width(), hidden),
          head_norm(layer, "q_norm", model.head_dim),
          head_norm(layer, "k_norm", model.head_dim),
          weight("out", hidden, query_width),
          norm(layer["mlp_norm"].cast<NormParts>(), hidden),
          weight("up", up_width, hidden),
          weight("down", hidden, width),
          hadamard_block(layer["down_block"].cast<int64_t>(), width)};
}

Activation activation(const std::string& name) {
  if (name == "silu") return Activation::kGatedSilu;
  require(name == "gelu" || name == "gelu_tanh", "decoder: unknown activation");
  return name == "gelu" ? Activation::kGelu : Activation::kGeluTanh;
}

template <int Rank>
VectorStore<Rank> store(const py::tuple& parts) {
  const auto data = parts[0].cast<Stored<Rank>>();
  const auto scales = parts[1].cast<std::optional<Host<float, Rank - 1>>>();
  require((data.dtype == Dtype::kInt8) == scales.has_value(),
          "cache: int8 codes, and they alone, need scales");
  for (int dim = 0; scales && dim + 1 < Rank; ++dim) {
    require(scales->size(dim) == data.size(dim), "cache: one scale for each vector");
  }
  return {data, scales ? scales->data : nullptr};
}

}  // namespace

std::unique_ptr<NativeDecoder> make_decoder(const CpuOps& ops, const py::dict& parts) {
  auto native = std::make_unique<NativeDecoder>();
  native->ops = ops.decoder;
  native->kept = parts;
  Decoder& model = native->model;
  const auto size = [&](const char* name) { return parts[name].cast<int64_t>(); };
  model.hidden_size = size("hidden_size");
  model.intermediate_size = size("intermediate_size");
  model.vocab_size = size("vocab_size");
  model.num_heads = size("num_heads");
  model.num_kv_heads = size("num_kv_heads");
  model.head_dim = size("head_dim");
  require(model.num_kv_heads > 0 && model.num_heads % model.num_kv_heads == 0,
          "decoder: num_heads must be a multiple of num_kv_heads");
  model.norm_eps = parts["norm_eps"].cast<float>();
  model.scale = parts["scale"].cast<float>();
  model.activation = activation(parts["activation"].cast<std::string>());
  model.parallel_residual = parts["parallel_residual"].cast<bool>();
  for (const py::handle layer : parts["layers"]) {
    model.layers.push_back(read_layer(model, layer.cast<py::dict>()));
  }
  model.final_norm = norm(parts["final_norm"].cast<NormParts>(), model.hidden_size);
  model.lm_head = matrix(parts["lm_head"].cast<MatrixParts>(), model.vocab_size, model.hidden_size);
  model.embed = {};
  if (const auto embed = parts["embed"].cast<std::optional<Stored<2>>>()) {
    require(embed->size(0) == model.vocab_size && embed->size(1) == model.hidden_size &&
                embed->dtype != Dtype::kInt8,
            "decoder: embed must be [vocab_size, hidden_size] of floats");
    model.embed = *embed;
  }
  return native;
}

void set_rotary(NativeDecoder& native, const py::object& cos, const py::object& sin) {
  const auto cosines = cos.cast<Host<const float, 2>>(), sines = sin.cast<Host<const float, 2>>();
  require(cosines.size(0) == sines.size(0) && cosines.size(1) == sines.size(1) &&
              2 * cosines.size(1) <= native.model.head_dim,
          "decoder: cos and sin must be [positions, rotary_dim / 2]");
  native.rotary = py::make_tuple(cos, sin);
  native.model.cos = cosines;
  native.model.sin = sines;
}

std::unique_ptr<NativeCache> make_cache(const py::list& layers) {
  auto native = std::make_unique<NativeCache>();
  native->kept = layers;
  for (const py::handle entry : layers) {
    const auto layer = entry.cast<py::tuple>();
    const LayerCache cache{store<3>(layer[0]), store<3>(layer[1]), store<4>(layer[2]),
                           store<4>(layer[3])};
    const Stored<3>&pk = cache.prefix_k.data, &pv = cache.prefix_v.data;
    const Stored<4>&sk = cache.suffix_k.data, &sv = cache.suffix_v.data;
    for (int dim = 0; dim < 3; ++dim) {
      require(pk.size(dim) == pv.size(dim), "cache: keys and values must have one shape");
    }
    for (int dim = 0; dim < 4; ++dim) {
      require(sk.size(dim) == sv.size(dim), "cache: keys and values must have one shape");
    }
    native->layers.push_back(cache);
  }
  return native;
}

}  // namespace t2
