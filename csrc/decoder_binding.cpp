// Part of the binding: the native step. Like binding.cpp it checks what makes memory access unsafe,
// releases the GIL, and does nothing else.
#include "decoder_binding.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>

#include "decoder.h"
#include "native_decoder.h"
#include "python_checks.h"
#include "python_tensors.h"

namespace py = pybind11;

namespace t2 {
namespace {

void require_fit(const Decoder& model, const NativeCache& cache) {
  require(cache.layers.size() == model.layers.size(), "cache: one entry for each layer");
  for (const LayerCache& layer : cache.layers) {
    const Stored<3>& prefix = layer.prefix_k.data;
    const Stored<4>& suffix = layer.suffix_k.data;
    require(prefix.size(0) == model.num_kv_heads && prefix.size(2) == model.head_dim &&
                suffix.size(1) == model.num_kv_heads && suffix.size(3) == model.head_dim,
            "cache: stores do not have the model's heads");
  }
}

void require_workspace(const NativeDecoder& native, Tensor<float, 1> workspace, int64_t rows,
                       int64_t logit_rows) {
  require(workspace.size(0) >= native.ops->workspace_floats(native.model, rows, logit_rows),
          "decoder: the workspace is too small");
}

void require_token(const Decoder& model, int64_t token) {
  require(0 <= token && token < model.vocab_size, "decoder: tokens must lie in the vocabulary");
}

template <typename Value>
Host<Value, 1> column(const py::dict& parts, const char* name, int64_t rows) {
  const auto values = parts[name].cast<Host<Value, 1>>();
  require(values.size(0) == rows, "decoder: every column must have an entry for each row");
  return values;
}

void prefill(const NativeDecoder& native, const NativeCache& cache, const py::dict& parts,
             Host<float, 2> hidden, Host<float, 1> workspace, int num_threads) {
  const Decoder& model = native.model;
  require_fit(model, cache);
  const int64_t T = parts["tokens"].cast<Host<const int64_t, 1>>().size(0);
  const PrefillBatch batch{column<const int64_t>(parts, "tokens", T),
                           column<const int64_t>(parts, "positions", T),
                           column<const int64_t>(parts, "columns", T),
                           parts["query_bounds"].cast<Host<const int64_t, 1>>(),
                           parts["spans"].cast<Host<const int64_t, 2>>(),
                           parts["span_bounds"].cast<Host<const int64_t, 1>>()};
  const auto wanted = parts["wanted"].cast<Host<const int64_t, 1>>();
  const int64_t columns = cache.layers[0].prefix_k.data.size(1);
  for (int64_t i = 0; i < T; ++i) require_token(model, batch.tokens.data[i]);
  require_within(batch.positions, model.cos.size(0) - 1, "decoder: too few rotary positions");
  require_within(batch.columns, columns - 1, "decoder: columns must lie in the prefix store");
  require_within(wanted, T - 1, "decoder: wanted must name tokens of the piece");
  require_prefill(batch.query_bounds, batch.spans, batch.span_bounds, T, columns);
  require(hidden.size(0) == wanted.size(0) && hidden.size(1) == model.hidden_size,
          "decoder: hidden must be [wanted, hidden_size]");
  require_workspace(native, workspace, T, 0);
  py::gil_scoped_release no_gil;
  native.ops->prefill(model, cache.layers, batch, hidden, wanted, workspace.data, num_threads);
}

DecodeBatch decode_batch(const NativeDecoder& native, const NativeCache& cache,
                         const py::dict& parts, int64_t steps) {
  const Decoder& model = native.model;
  require_fit(model, cache);
  const int64_t R = parts["row_slot"].cast<Host<const int64_t, 1>>().size(0);
  const Stored<3>& prefix = cache.layers[0].prefix_k.data;
  const Stored<4>& suffix = cache.layers[0].suffix_k.data;
  const DecodeBatch batch{parts["history"].cast<Host<int64_t, 2>>(),
                          column<int64_t>(parts, "drawn", suffix.size(0)),
                          column<const int64_t>(parts, "row_slot", R),
                          column<const int64_t>(parts, "prefix_len", R),
                          parts["segment_columns"].cast<Host<const int64_t, 2>>(),
                          parts["segment_rows"].cast<Host<const int64_t, 2>>()};
  require_within(batch.row_slot, suffix.size(0) - 1, "decoder: row_slot must name a slot");
  require_segments(batch.segment_columns, batch.segment_rows, R, prefix.size(1));
  require(batch.history.size(0) == suffix.size(0), "decoder: history must be [slots, capacity]");
  for (int64_t row = 0; row < R; ++row) {
    const int64_t slot = batch.row_slot.data[row], drawn = batch.drawn.data[slot];
    const int64_t before = batch.prefix_len.data[row];
    require(
        1 <= drawn && drawn + steps <= batch.history.size(1) && drawn - 1 + steps <= suffix.size(2),
        "decoder: a slot has no token yet, or no room for more");
    require(0 <= before && before + drawn - 1 + steps <= model.cos.size(0),
            "decoder: too few rotary positions");
    require_token(model, batch.history.data[slot * batch.history.size(1) + drawn - 1]);
  }
  return batch;
}

void decode_hidden(const NativeDecoder& native, const NativeCache& cache, const py::dict& parts,
                   Host<float, 2> hidden, Host<float, 1> workspace, int num_threads) {
  const DecodeBatch batch = decode_batch(native, cache, parts, 1);
  const int64_t rows = batch.row_slot.size(0);
  require(hidden.size(0) == rows && hidden.size(1) == native.model.hidden_size,
          "decoder: hidden must be [rows, hidden_size]");
  require_workspace(native, workspace, rows, 0);
  py::gil_scoped_release no_gil;
  native.ops->decode_hidden(native.model, cache.layers, batch, hidden, workspace.data, num_threads);
}

void logits(const NativeDecoder& native, Host<float, 2> out, Host<const float, 2> hidden,
            Host<float, 1> workspace, int num_threads) {
  require(hidden.size(1) == native.model.hidden_size && out.size(0) == hidden.size(0) &&
              out.size(1) == native.model.vocab_size,
          "decoder: logits must be [rows, vocab_size] of hidden [rows, hidden_size]");
  require_workspace(native, workspace, 0, hidden.size(0));
  py::gil_scoped_release no_gil;
  native.ops->logits(native.model, out, hidden, workspace.data, num_threads);
}

// Returns the number of steps taken; ended [rows] says which rows are done.
int64_t decode(const NativeDecoder& native, const NativeCache& cache, const py::dict& parts,
               Host<int64_t, 1> ended, int64_t max_steps, double max_seconds, int64_t logit_rows,
               Host<float, 1> workspace, int num_threads) {
  const DecodeBatch batch = decode_batch(native, cache, parts, max_steps);
  const int64_t rows = batch.row_slot.size(0), slots = batch.drawn.size(0);
  const auto end_bounds = parts["end_bounds"].cast<Host<const int64_t, 1>>();
  const auto end_ids = parts["end_ids"].cast<Host<const int64_t, 1>>();
  require_bounds(end_bounds, end_ids.size(0), "decoder: end_bounds must rise to end_ids' size");
  const Draws draws{column<const float>(parts, "temperature", slots),
                    column<const int64_t>(parts, "top_k", slots),
                    column<const float>(parts, "top_p", slots),
                    column<const float>(parts, "min_p", slots),
                    column<const int64_t>(parts, "seed", slots),
                    column<const int64_t>(parts, "prompt", slots),
                    column<const int64_t>(parts, "sample", slots),
                    column<const int64_t>(parts, "max_new_tokens", slots),
                    column<const int64_t>(parts, "end_set", slots),
                    end_bounds,
                    end_ids};
  require_within(draws.end_set, end_bounds.size(0) - 2, "decoder: end_set must name a set");
  require(ended.size(0) == rows && max_steps >= 1 && logit_rows >= 1,
          "decoder: ended must be [rows], max_steps and logit_rows at least 1");
  require_workspace(native, workspace, rows, logit_rows);
  py::gil_scoped_release no_gil;
  return native.ops->decode(native.model, cache.layers, batch, draws, ended, max_steps, max_seconds,
                            logit_rows, workspace.data, num_threads);
}

}  // namespace

void bind_decoder_classes(py::module_& module) {
  py::class_<NativeDecoder>(module, "Decoder")
      .def("set_rotary", set_rotary)
      .def("workspace_floats",
           [](const NativeDecoder& native, int64_t rows, int64_t logit_rows) {
             return native.ops->workspace_floats(native.model, rows, logit_rows);
           })
      .def("prefill", prefill)
      .def("decode_hidden", decode_hidden)
      .def("logits", logits)
      .def("decode", decode);
  py::class_<NativeCache>(module, "Cache").def(py::init(&make_cache));
}

void bind_decoder(py::module_& module, const CpuOps& ops) {
  module.def("make_decoder", [&ops](const py::dict& parts) { return make_decoder(ops, parts); });
}

}  // namespace t2
