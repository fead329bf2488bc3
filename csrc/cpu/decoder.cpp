// The native step: prefill, and decoding with its draws, over csrc/cpu/transformer_pass.h.
#include "../decoder.h"

#include <chrono>

#include "attention.h"
#include "ops.h"
#include "sampling.h"
#include "transformer_pass.h"
#include "vector_store.h"

namespace t2::T2_ISA {
namespace {

// What a step reads of every row: its last token, its position, and the keys of its own by then.
struct Rows {
  std::vector<int64_t> tokens, positions, suffix_len;

  explicit Rows(const DecodeBatch& batch) {
    for (int64_t row = 0; row < batch.row_slot.size(0); ++row) {
      const int64_t slot = batch.row_slot.data[row], drawn = batch.drawn.data[slot];
      tokens.push_back(batch.history.data[slot * batch.history.size(1) + drawn - 1]);
      positions.push_back(batch.prefix_len.data[row] + drawn - 1);
      suffix_len.push_back(drawn);
    }
  }
  int64_t count() const { return static_cast<int64_t>(tokens.size()); }
};

void decode_layers(const Decoder& model, const std::vector<LayerCache>& cache,
                   const DecodeBatch& batch, const Rows& rows, const Pass& pass, int num_threads) {
  pass.embed(rows.tokens.data());
  pass.layers(
      rows.positions.data(),
      [&](size_t layer, int64_t row, int64_t kv_head, const float* k, const float* v) {
        const LayerCache& at = cache[layer];
        const int64_t head = batch.row_slot.data[row] * model.num_kv_heads + kv_head;
        const int64_t place = head * at.suffix_k.data.size(2) + rows.suffix_len[row] - 1;
        store_vector(at.suffix_k, place, k);
        store_vector(at.suffix_v, place, v);
      },
      [&](size_t layer, Tensor<float, 3> out, Tensor<const float, 3> q) {
        const LayerCache& at = cache[layer];
        tree_attention(out, q, at.prefix_k, at.prefix_v, batch.segment_columns, batch.segment_rows,
                       at.suffix_k, at.suffix_v, batch.row_slot,
                       {rows.suffix_len.data(), {rows.count()}}, model.scale, num_threads);
      });
}

// Draws the next token of rows first to first + count, whose logits are given.
void draw_rows(const DecodeBatch& batch, const Draws& draws, int64_t first, int64_t count,
               const float* logits, int64_t vocab_size, int num_threads) {
  parallel_rows(num_threads, count, 30 * vocab_size, [&](int64_t i) {
    const int64_t slot = batch.row_slot.data[first + i], step = batch.drawn.data[slot];
    const double uniform =
        uniform_of(draws.seed.data[slot], draws.prompt.data[slot], draws.sample.data[slot], step);
    Scratch scratch(sample_scratch(vocab_size));
    sample_row(logits + i * vocab_size, vocab_size, draws.temperature.data[slot],
               draws.top_k.data[slot], draws.top_p.data[slot], draws.min_p.data[slot], uniform,
               scratch.take(sample_scratch(vocab_size)),
               batch.history.data + slot * batch.history.size(1) + step, nullptr);
  });
}

bool has_ended(const DecodeBatch& batch, const Draws& draws, int64_t slot) {
  const int64_t drawn = batch.drawn.data[slot], set = draws.end_set.data[slot];
  const int64_t token = batch.history.data[slot * batch.history.size(1) + drawn - 1];
  const int64_t* begin = draws.end_ids.data + draws.end_bounds.data[set];
  const int64_t* end = draws.end_ids.data + draws.end_bounds.data[set + 1];
  return drawn >= draws.max_new_tokens.data[slot] || std::find(begin, end, token) != end;
}

int64_t workspace_floats(const Decoder& model, int64_t rows, int64_t logit_rows) {
  return Buffers(model, nullptr, rows, logit_rows).floats + kLineFloats;
}

void prefill(const Decoder& model, const std::vector<LayerCache>& cache, const PrefillBatch& batch,
             Tensor<float, 2> hidden, Tensor<const int64_t, 1> wanted, float* workspace,
             int num_threads) {
  const Pass pass(model, workspace, batch.tokens.size(0), 0, num_threads);
  pass.embed(batch.tokens.data);
  pass.layers(
      batch.positions.data,
      [&](size_t layer, int64_t row, int64_t kv_head, const float* k, const float* v) {
        const LayerCache& at = cache[layer];
        const int64_t place = kv_head * at.prefix_k.data.size(1) + batch.columns.data[row];
        store_vector(at.prefix_k, place, k);
        store_vector(at.prefix_v, place, v);
      },
      [&](size_t layer, Tensor<float, 3> out, Tensor<const float, 3> q) {
        const LayerCache& at = cache[layer];
        prefill_attention(out, q, at.prefix_k, at.prefix_v, batch.query_bounds, batch.spans,
                          batch.span_bounds, model.scale, num_threads);
      });
  for (int64_t i = 0; i < wanted.size(0); ++i) {
    std::copy_n(pass.hidden(wanted.data[i]), hidden.size(1), hidden.data + i * hidden.size(1));
  }
}

void decode_hidden(const Decoder& model, const std::vector<LayerCache>& cache,
                   const DecodeBatch& batch, Tensor<float, 2> hidden, float* workspace,
                   int num_threads) {
  const Rows rows(batch);
  const Pass pass(model, workspace, rows.count(), 0, num_threads);
  decode_layers(model, cache, batch, rows, pass, num_threads);
  std::copy_n(pass.hidden(0), hidden.numel(), hidden.data);
}

void logits(const Decoder& model, Tensor<float, 2> out, Tensor<const float, 2> hidden,
            float* workspace, int num_threads) {
  const Pass pass(model, workspace, 0, hidden.size(0), num_threads);
  pass.logits_of(hidden.data, hidden.size(0), out.data);
}

int64_t decode(const Decoder& model, const std::vector<LayerCache>& cache, const DecodeBatch& batch,
               const Draws& draws, Tensor<int64_t, 1> ended, int64_t max_steps, double max_seconds,
               int64_t logit_rows, float* workspace, int num_threads) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point began = Clock::now();
  const int64_t num_rows = batch.row_slot.size(0);
  const Pass pass(model, workspace, num_rows, logit_rows, num_threads);
  bool any_ended = false;
  for (int64_t step = 1;; ++step) {
    const Rows rows(batch);
    decode_layers(model, cache, batch, rows, pass, num_threads);
    for (int64_t first = 0; first < num_rows; first += logit_rows) {
      const int64_t count = std::min(logit_rows, num_rows - first);
      pass.logits_of(pass.hidden(first), count, pass.logits());
      draw_rows(batch, draws, first, count, pass.logits(), model.vocab_size, num_threads);
    }
    for (int64_t row = 0; row < num_rows; ++row) {
      const int64_t slot = batch.row_slot.data[row];
      ++batch.drawn.data[slot];
      ended.data[row] = has_ended(batch, draws, slot);
      any_ended |= ended.data[row] != 0;
    }
    const std::chrono::duration<double> spent = Clock::now() - began;
    if (any_ended || step == max_steps || spent.count() >= max_seconds) return step;
  }
}

}  // namespace

const DecoderOps& decoder_ops() {
  static const DecoderOps ops{workspace_floats, prefill, decode_hidden, logits, decode};
  return ops;
}

}  // namespace t2::T2_ISA
