// The only file that knows Python, with python_tensors.h. It checks what would make memory access
// unsafe (dtype, rank, device, density, indices), releases the GIL, and does nothing else.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <string>

#include "ops.h"
#include "python_tensors.h"

namespace py = pybind11;

namespace t2 {
namespace {

void require(bool holds, const char* message) {
  if (!holds) throw std::invalid_argument(message);
}

// Non-decreasing bounds from 0 to exactly `limit`: what makes slicing rows by them safe.
void require_bounds(Tensor<const int64_t, 1> bounds, int64_t limit, const char* message) {
  int64_t before = 0;
  for (int64_t i = 0; i < bounds.size(0); ++i) {
    require(bounds.data[i] >= before, message);
    before = bounds.data[i];
  }
  require(bounds.size(0) > 0 && bounds.data[0] == 0 && before == limit, message);
}

void require_spans(Tensor<const int64_t, 2> spans, int64_t limit, const char* message) {
  for (int64_t i = 0; i < spans.size(0); ++i) {
    const int64_t start = spans.data[2 * i], stop = spans.data[2 * i + 1];
    require(0 <= start && start <= stop && stop <= limit, message);
  }
}

void require_within(Tensor<const int64_t, 1> values, int64_t limit, const char* message) {
  for (int64_t i = 0; i < values.size(0); ++i) {
    require(0 <= values.data[i] && values.data[i] <= limit, message);
  }
}

// Indices come from data, so shapes alone do not make an operation safe.
struct CheckNothing {
  template <typename... Args>
  void operator()(const Args&...) const {}
};

struct CheckLinear {
  void operator()(Tensor<float, 2> out, Tensor<const float, 2> x, Tensor<const float, 3> panels,
                  const std::optional<Host<const float, 1>>&, int) const {
    require(panels.size(0) * panels.size(2) >= out.size(1) && panels.size(1) == x.size(1) &&
                panels.size(2) == 16,
            "linear: panels must be [ceil(N / 16), K, 16]");
  }
};

struct CheckPrefill {
  void operator()(Tensor<float, 3>, Tensor<const float, 3> q, const VectorStore<3>& k,
                  const VectorStore<3>&, Tensor<const int64_t, 1> query_bounds,
                  Tensor<const int64_t, 2> spans, Tensor<const int64_t, 1> span_bounds, float,
                  int) const {
    require_bounds(query_bounds, q.size(0),
                   "prefill_attention: query_bounds must rise from 0 to the number of queries");
    require_bounds(span_bounds, spans.size(0),
                   "prefill_attention: span_bounds must rise from 0 to the number of spans");
    require_spans(spans, k.size(1), "prefill_attention: spans must lie inside the key store");
    require(span_bounds.size(0) == query_bounds.size(0),
            "prefill_attention: span_bounds must have as many prompts as query_bounds");
    for (int64_t g = 0; g + 1 < span_bounds.size(0); ++g) {
      int64_t num_keys = 0;
      for (int64_t i = span_bounds.data[g]; i < span_bounds.data[g + 1]; ++i) {
        require(
            num_keys % 128 == 0,
            "prefill_attention: spans must have a multiple of 128 columns, but a prompt's last");
        num_keys += spans.data[2 * i + 1] - spans.data[2 * i];
      }
      require(num_keys >= query_bounds.data[g + 1] - query_bounds.data[g],
              "prefill_attention: spans must give every prompt at least as many keys as "
              "query_bounds gives it queries");
    }
  }
};

struct CheckTree {
  void operator()(Tensor<float, 3>, Tensor<const float, 3> q, const VectorStore<3>& prefix_k,
                  const VectorStore<3>&, Tensor<const int64_t, 2> segment_columns,
                  Tensor<const int64_t, 2> segment_rows, const VectorStore<4>& suffix_k,
                  const VectorStore<4>&, Tensor<const int64_t, 1> row_slot,
                  Tensor<const int64_t, 1> suffix_len, float, int) const {
    require_spans(segment_columns, prefix_k.size(1),
                  "tree_attention: segment_columns must lie inside the prefix store");
    require_spans(segment_rows, q.size(0), "tree_attention: segment_rows must be rows of q");
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
  def(module, "rms_norm_cpu", ops.rms_norm);
  def(module, "layer_norm_cpu", ops.layer_norm);
  def(module, "rotary_embedding_cpu", ops.rotary_embedding);
  def(module, "silu_mul_cpu", ops.silu_mul);
  def(module, "gelu_cpu", ops.gelu);
  def<CheckPrefill>(module, "prefill_attention_cpu", ops.prefill_attention);
  def<CheckTree>(module, "tree_attention_cpu", ops.tree_attention);
  def<CheckDecode>(module, "shared_prefix_attention_cpu", ops.shared_prefix_attention);
  def<CheckStoreVectors>(module, "store_vectors_cpu", ops.store_vectors);
  def(module, "sample_tokens_cpu", ops.sample_tokens);
  def(module, "philox_uniform_cpu", ops.philox_uniform);
}

void* current_stream() {
  const py::object stream = py::module_::import("torch").attr("cuda").attr("current_stream")();
  return reinterpret_cast<void*>(stream.attr("cuda_stream").cast<uintptr_t>());
}

void bind_cuda(py::module_& module) {
  module.def("merge_states_cuda", [](Device<float, 3> out, Device<float, 2> lse,
                                     Device<const float, 3> out_a, Device<const float, 2> lse_a,
                                     Device<const float, 3> out_b, Device<const float, 2> lse_b) {
    merge_states_cuda(out, lse, out_a, lse_a, out_b, lse_b, current_stream());
  });
  module.def("shared_prefix_attention_cuda",
             [](Device<float, 3> out, Device<const float, 3> q, Device<const float, 3> prefix_k,
                Device<const float, 3> prefix_v, Device<const int64_t, 2> prefix_bounds,
                Device<const int64_t, 1> row_bounds, Device<const float, 4> suffix_k,
                Device<const float, 4> suffix_v, Device<const int64_t, 1> row_slot,
                Device<const int64_t, 1> suffix_len, float scale) {
               shared_prefix_attention_cuda(out, q, prefix_k, prefix_v, prefix_bounds, row_bounds,
                                            suffix_k, suffix_v, row_slot, suffix_len, scale,
                                            current_stream());
             });
}

}  // namespace
}  // namespace t2

PYBIND11_MODULE(_C, module) {
  module.doc() = "Native kernels of t2engine; contracts in t2engine.ops";
  module.attr("__version__") = T2_VERSION;
  module.attr("cuda_architectures") = py::cast(t2::cuda_architectures());

  // The functions themselves are those of the fastest supported instruction set; every other
  // supported one has a submodule of its name, so that tests can hold them against each other.
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
