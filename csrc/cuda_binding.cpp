// The operations of cuda_ops.h for Python. Work goes to torch's current stream.
#include "cuda_binding.h"

#include <optional>
#include <string>

#include "cuda_ops.h"
#include "python_tensors.h"

namespace t2 {
namespace {

template <int Rank>
using Any = DeviceStored<Rank>;  // of any type that is stored
template <int Rank>
using Floats = Device<const float, Rank>;
template <int Rank>
using Ints = Device<const int64_t, Rank>;
template <int Rank>
using Plan = Device<const int32_t, Rank>;
using Columns = Device<int64_t, 1>;

void* current_stream() {
  const py::object stream = py::module_::import("torch").attr("cuda").attr("current_stream")();
  return reinterpret_cast<void*>(stream.attr("cuda_stream").cast<uintptr_t>());
}

Stored<1> or_none(const std::optional<Any<1>>& x) { return x ? Stored<1>(*x) : Stored<1>{}; }

void bind_steps(py::module_& module) {
  module.def("sample_tokens_cuda",
             [](Columns token, Device<float, 1> logprob, Any<2> logits, Floats<1> temperature,
                Ints<1> top_k, Floats<1> top_p, Floats<1> min_p, Device<const double, 1> uniform) {
               sample_tokens_cuda(token, logprob, logits, temperature, top_k, top_p, min_p, uniform,
                                  current_stream());
             });
  module.def("philox_uniform_cuda",
             [](Device<double, 1> out, Ints<1> seed, Ints<1> prompt, Ints<1> sample, Ints<1> step) {
               philox_uniform_cuda(out, seed, prompt, sample, step, current_stream());
             });
  module.def(
      "step_update_cuda",
      [](Ints<1> token, Columns alive, Columns drawn, Columns position, Columns first, Columns last,
         Device<int64_t, 2> drawn_tokens, Any<2> hidden, Device<double, 1> uniform,
         Ints<1> max_new_tokens, Ints<1> end_set, Ints<1> end_bounds, Ints<1> end_ids, Ints<1> seed,
         Ints<1> prompt, Ints<1> sample, Any<2> embed) {
        step_update_cuda(token, alive, drawn, position, first, last, drawn_tokens, hidden, uniform,
                         max_new_tokens, end_set, end_bounds, end_ids, seed, prompt, sample, embed,
                         current_stream());
      });
}

void bind_layers(py::module_& module) {
  module.def("rms_norm_cuda", [](Any<2> out, Any<2> x, Any<1> weight, float eps) {
    rms_norm_cuda(out, x, weight, eps, current_stream());
  });
  module.def("silu_mul_cuda",
             [](Any<2> out, Any<2> x) { silu_mul_cuda(out, x, current_stream()); });
  module.def("rope_append_cuda", [](Any<4> out, Any<2> qkv, const std::optional<Any<1>>& bias,
                                    const std::optional<Any<1>>& q_norm,
                                    const std::optional<Any<1>>& k_norm, Floats<2> cos,
                                    Floats<2> sin, Ints<1> position, Ints<1> time, Ints<1> alive,
                                    Ints<2> row_chunk, Any<4> slab_k, Any<4> slab_v, float eps) {
    rope_append_cuda(out, qkv, or_none(bias), or_none(q_norm), or_none(k_norm), cos, sin, position,
                     time, alive, row_chunk, slab_k, slab_v, eps, current_stream());
  });
}

void bind_attention(py::module_& module) {
  module.def("merge_states_cuda", [](Device<float, 3> out, Device<float, 2> lse, Floats<3> out_a,
                                     Floats<2> lse_a, Floats<3> out_b, Floats<2> lse_b) {
    merge_states_cuda(out, lse, out_a, lse_a, out_b, lse_b, current_stream());
  });
  module.def("slab_attention_cuda",
             [](Any<3> out, Any<4> q, Any<3> prefix_k, Any<3> prefix_v, Plan<2> items,
                Plan<1> row_states, Plan<1> row_spans, Plan<2> spans, Device<float, 3> state,
                Device<float, 2> lse, Any<4> slab_k, Any<4> slab_v, Ints<2> row_chunk,
                Ints<1> first, Ints<1> last, float scale, const std::string& kernel) {
               slab_attention_cuda(out, q, prefix_k, prefix_v, items, row_states, row_spans, spans,
                                   state, lse, slab_k, slab_v, row_chunk, first, last, scale,
                                   kernel, current_stream());
             });
}

}  // namespace

void bind_cuda(py::module_& module) {
  module.attr("cuda_architectures") = py::cast(cuda_architectures());
  bind_attention(module);
  bind_layers(module);
  bind_steps(module);
}

}  // namespace t2
