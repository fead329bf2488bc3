// The only file that knows Python, with python_tensors.h. It checks what would make memory access
// unsafe (dtype, rank, device, density, indices), releases the GIL, and does nothing else.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <string>

#include "cuda_binding.h"
#include "decoder_binding.h"
#include "ops.h"
#include "python_checks.h"
#include "python_tensors.h"

namespace py = pybind11;

namespace t2 {
namespace {

// Indices come from data, so shapes alone do not make an operation safe.
struct CheckNothing {
  template <typename... Args>
  void operator()(const Args&...) const {}
};

// Panels of a weight [N, K] as they are stored: [ceil(N / 16), K, 16], or codes in quads,
// [ceil(N / 16), ceil(K / 4), 64], with a scale for each of the panels' columns.
template <typename Scales>
void require_panels(const char* name, const Stored<3>& panels, const Scales& scales, int64_t N,
                    int64_t K) {
  const std::string shape = std::string(name) + ": panels must be [ceil(N / 16), ";
  const bool codes = panels.dtype == Dtype::kInt8;
  require(panels.size(0) == (N + 15) / 16 && panels.size(1) == (codes ? (K + 3) / 4 : K) &&
              panels.size(2) == (codes ? 64 : 16),
          (shape + (codes ? "ceil(K / 4), 64]" : "K, 16]")).c_str());
  require(scales.has_value() == codes && (!codes || scales->size(0) == panels.size(0) * 16),
          "int8 panels, and no others, must have [ceil(N / 16) * 16] scales");
  require(!codes || K <= kMaxCodes, "int8 weights must have at most 131072 in_features");
}

struct CheckProduct {
  void operator()(Tensor<float, 2> out, Tensor<const float, 2> x, const Stored<3>& panels,
                  const std::optional<Host<const float, 1>>& scales,
                  const std::optional<Host<const float, 1>>& bias, bool gated, bool, int) const {
    const int64_t columns = gated ? 2 * out.size(1) : out.size(1);
    require_panels("linear", panels, scales, columns, x.size(1));
    require(x.size(0) == out.size(0), "linear: x and out must have as many rows");
    require(!bias || bias->size(0) == columns, "linear: bias must be [N]");
  }
};

struct CheckLinear {
  void operator()(Tensor<float, 2> out, Tensor<const float, 2> x, const Stored<3>& panels,
                  const std::optional<Host<const float, 1>>& scales,
                  const std::optional<Host<const float, 1>>& bias, int) const {
    CheckProduct()(out, x, panels, scales, bias, false, false, 1);
  }
};

struct CheckPack {
  void operator()(const Stored<3>& panels, const std::optional<Host<float, 1>>& scales,
                  const Stored<2>& weight, int) const {
    require_panels("pack_weight", panels, scales, weight.size(0), weight.size(1));
    require(weight.dtype != Dtype::kInt8, "pack_weight: weight must not be int8");
  }
};

struct CheckHadamard {
  void operator()(Tensor<float, 2> out, Tensor<const float, 2> x, int64_t block, int) const {
    require(block >= 1 && (block & (block - 1)) == 0 && x.size(1) % block == 0 &&
                out.size(0) == x.size(0) && out.size(1) == x.size(1),
            "hadamard: block must be a power of two that divides the width of x and out");
  }
};

struct CheckPrefill {
  void operator()(Tensor<float, 3>, Tensor<const float, 3> q, const VectorStore<3>& k,
                  const VectorStore<3>&, Tensor<const int64_t, 1> query_bounds,
                  Tensor<const int64_t, 2> spans, Tensor<const int64_t, 1> span_bounds, float,
                  int) const {
    require_prefill(query_bounds, spans, span_bounds, q.size(0), k.size(1));
  }
};

struct CheckTree {
  void operator()(Tensor<float, 3>, Tensor<const float, 3> q, const VectorStore<3>& prefix_k,
                  const VectorStore<3>&, Tensor<const int64_t, 2> segment_columns,
                  Tensor<const int64_t, 2> segment_rows, const VectorStore<4>& suffix_k,
                  const VectorStore<4>&, Tensor<const int64_t, 1> row_slot,
                  Tensor<const int64_t, 1> suffix_len, float, int) const {
    require_segments(segment_columns, segment_rows, q.size(0), prefix_k.size(1));
    require_within(row_slot, suffix_k.size(0) - 1,
                   "tree_attention: row_slot must name a slot of the suffix store");
    require_within(suffix_len, suffix_k.size(2),
                   "tree_attention: suffix_len must not pass the suffix store");
  }
};

struct CheckStoreVectors {
  void operator()(const VectorStore<2>& store, Tensor<const int64_t, 1> at, Tensor<const float, 2>,
                  int) const {
    require_within(at, store.size(0) - 1, "store_vectors: at must lie inside the store");
  }
};

struct CheckDecode {
  void operator()(Tensor<float, 3>, Tensor<const float, 3> q, Tensor<const float, 3> prefix_k,
                  Tensor<const float, 3>, Tensor<const int64_t, 2> prefix_bounds,
                  Tensor<const int64_t, 1> row_bounds, Tensor<const float, 4> suffix_k,
                  Tensor<const float, 4>, Tensor<const int64_t, 1> row_slot,
                  Tensor<const int64_t, 1> suffix_len, float, int) const {
    require_bounds(row_bounds, q.size(0),
                   "shared_prefix_attention: row_bounds must rise from 0 to the number of rows");
    require_spans(prefix_bounds, prefix_k.size(1),
                  "shared_prefix_attention: prefix_bounds must lie inside the prefix store");
    require_within(row_slot, suffix_k.size(0) - 1,
                   "shared_prefix_attention: row_slot must name a slot of the suffix store");
    require_within(suffix_len, suffix_k.size(2),
                   "shared_prefix_attention: suffix_len must not pass the suffix store");
  }
};

// The argument as the caster reads it from Python.
template <typename T>
struct FromPython {
  using type = T;
};
template <typename T, int Rank>
struct FromPython<Tensor<T, Rank>> {
  using type = Host<T, Rank>;
};
template <typename T, int Rank>
struct FromPython<std::optional<Tensor<T, Rank>>> {
  using type = std::optional<Host<T, Rank>>;
};

template <typename Check = CheckNothing, typename... Args>
void def(py::module_& module, const char* name, void (*op)(Args...)) {
  module.def(name, [op](typename FromPython<Args>::type... args) {
    Check()(args...);
    py::gil_scoped_release no_gil;
    op(args...);
  });
}

void bind_cpu(py::module_& module, const CpuOps& ops) {
  def(module, "merge_states_cpu", ops.merge_states);
  def<CheckLinear>(module, "linear_cpu", ops.linear);
  def<CheckProduct>(module, "product_cpu", ops.product);
  def<CheckPack>(module, "pack_weight_cpu", ops.pack_weight);
  def(module, "rms_norm_cpu", ops.rms_norm);
  def(module, "layer_norm_cpu", ops.layer_norm);
  def(module, "rotary_embedding_cpu", ops.rotary_embedding);
  def(module, "silu_mul_cpu", ops.silu_mul);
  def(module, "gelu_cpu", ops.gelu);
  def<CheckHadamard>(module, "hadamard_cpu", ops.hadamard);
  def<CheckPrefill>(module, "prefill_attention_cpu", ops.prefill_attention);
  def<CheckTree>(module, "tree_attention_cpu", ops.tree_attention);
  def<CheckDecode>(module, "shared_prefix_attention_cpu", ops.shared_prefix_attention);
  def<CheckStoreVectors>(module, "store_vectors_cpu", ops.store_vectors);
  def(module, "sample_tokens_cpu", ops.sample_tokens);
  def(module, "philox_uniform_cpu", ops.philox_uniform);
  bind_decoder(module, ops);
}

}  // namespace
}  // namespace t2

PYBIND11_MODULE(_C, module) {
  module.doc() = "Native kernels of t2engine; contracts in t2engine.ops";
  module.attr("__version__") = T2_VERSION;

  // The functions themselves are those of the fastest supported instruction set; every other
  // supported one has a submodule of its name, so that tests can hold them against each other.
  t2::bind_decoder_classes(module);
  py::list built, supported;
  for (const t2::InstructionSet& isa : t2::instruction_sets()) {
    built.append(isa.name);
    if (!isa.supported) continue;
    if (py::len(supported) == 0) t2::bind_cpu(module, *isa.ops);
    supported.append(isa.name);
    py::module_ submodule = module.def_submodule(isa.name.c_str());
    t2::bind_cpu(submodule, *isa.ops);
  }
  module.attr("built_isas") = built;
  module.attr("supported_isas") = supported;
  t2::bind_cuda(module);
}
