// One native decode step of a tiny fixed model, by itself, for benchmarks/instructions.py:
//
//     t2_instructions ROWS
//
// Two layers of hidden 256, 4/2 heads of 64, intermediate 512, vocabulary 2048; ROWS samples of one
// prompt of 300 tokens, each with 16 keys of its own; float32, one thread, the AVX2 set. What is
// counted is measured_step(); a step before it brings up whatever is made once.
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <limits>
#include <vector>

#include "decoder.h"
#include "ops.h"

namespace t2::avx2 {
InstructionSet entry(const char* name);
}

namespace {

using namespace t2;

constexpr int64_t kLayers = 2, kHidden = 256, kInner = 512, kVocab = 2048;
constexpr int64_t kHeads = 4, kKvHeads = 2, kHeadDim = 64;
constexpr int64_t kPrompt = 300, kSuffix = 16, kCapacity = 24;
constexpr int64_t kPanel = 16;  // output features in a panel of a packed weight

// Owns the numbers that views are borrowed from. Uniform with the spread of a real model's.
class Numbers {
 public:
  float* draw(int64_t count, float spread) {
    kept_.emplace_back(count);
    for (float& value : kept_.back()) {
      state_ = state_ * 6364136223846793005u + 1442695040888963407u;
      value = spread * (static_cast<float>(state_ >> 40) / (1 << 23) - 1);
    }
    return kept_.back().data();
  }
  float* fill(int64_t count, float value) { return kept_.emplace_back(count, value).data(); }

 private:
  std::deque<std::vector<float>> kept_;
  uint64_t state_ = 1;
};

Matrix make_matrix(const CpuOps& ops, Numbers& numbers, int64_t rows, int64_t columns) {
  const Stored<2> plain{numbers.draw(rows * columns, 0.04f), Dtype::kFloat32, {rows, columns}};
  const Stored<3> panels{
      numbers.fill(rows * columns, 0), Dtype::kFloat32, {rows / kPanel, columns, kPanel}};
  ops.pack_weight(panels, std::nullopt, plain, 1);
  return {Dtype::kFloat32, panels.data, nullptr, nullptr, rows, columns};
}

Decoder make_model(const CpuOps& ops, Numbers& numbers) {
  Decoder model{};
  model.hidden_size = kHidden;
  model.intermediate_size = kInner;
  model.vocab_size = kVocab;
  model.num_heads = kHeads;
  model.num_kv_heads = kKvHeads;
  model.head_dim = kHeadDim;
  model.norm_eps = 1e-5f;
  model.scale = 0.125f;  // 1 / sqrt(head_dim)
  model.activation = Activation::kGatedSilu;
  for (int64_t i = 0; i < kLayers; ++i) {
    DecoderLayer layer{};
    layer.attn_norm = {numbers.fill(kHidden, 1), nullptr};
    layer.qkv = make_matrix(ops, numbers, model.qkv_width(), kHidden);
    layer.out = make_matrix(ops, numbers, kHidden, kHeads * kHeadDim);
    layer.mlp_norm = {numbers.fill(kHidden, 1), nullptr};
    layer.up = make_matrix(ops, numbers, 2 * kInner, kHidden);
    layer.down = make_matrix(ops, numbers, kHidden, kInner);
    model.layers.push_back(layer);
  }
  model.final_norm = {numbers.fill(kHidden, 1), nullptr};
  model.lm_head = make_matrix(ops, numbers, kVocab, kHidden);
  model.embed = {numbers.draw(kVocab * kHidden, 1), Dtype::kFloat32, {kVocab, kHidden}};
  const int64_t positions = kPrompt + kCapacity, half = kHeadDim / 2;
  model.cos = {numbers.draw(positions * half, 1), {positions, half}};
  model.sin = {numbers.draw(positions * half, 1), {positions, half}};
  return model;
}

std::vector<LayerCache> make_cache(Numbers& numbers, int64_t rows) {
  std::vector<LayerCache> layers;
  const auto prefix = [&] {
    const int64_t count = kKvHeads * kPrompt * kHeadDim;
    return VectorStore<3>{{numbers.draw(count, 1), Dtype::kFloat32, {kKvHeads, kPrompt, kHeadDim}}};
  };
  const auto suffix = [&] {
    const int64_t count = rows * kKvHeads * kCapacity * kHeadDim;
    return VectorStore<4>{
        {numbers.draw(count, 1), Dtype::kFloat32, {rows, kKvHeads, kCapacity, kHeadDim}}};
  };
  for (int64_t i = 0; i < kLayers; ++i) layers.push_back({prefix(), prefix(), suffix(), suffix()});
  return layers;
}

struct Step {
  const DecoderOps& ops;
  const Decoder& model;
  const std::vector<LayerCache>& cache;
  const DecodeBatch& batch;
  const Draws& draws;
  Tensor<int64_t, 1> ended;
  float* workspace;

  int64_t run() const {
    return ops.decode(model, cache, batch, draws, ended, 1, std::numeric_limits<double>::infinity(),
                      ended.size(0), workspace, 1);
  }
};

}  // namespace

// callgrind collects between its beginning and its end, and finds it by this name.
extern "C" __attribute__((noinline, visibility("default"))) int64_t
measured_step(const Step* step) {
  return step->run();
}

int main(int argc, char** argv) {
  const int64_t R = argc == 2 ? std::atoll(argv[1]) : 0;
  if (R < 1) {
    std::fprintf(stderr, "usage: t2_instructions ROWS\n");
    return 2;
  }
  const CpuOps& ops = *avx2::entry("avx2").ops;
  Numbers numbers;
  const Decoder model = make_model(ops, numbers);
  const std::vector<LayerCache> cache = make_cache(numbers, R);

  std::vector<int64_t> history(R * kCapacity), drawn(R, kSuffix), slots(R), zeros(R, 0);
  std::vector<int64_t> prefix_len(R, kPrompt), many(R, kCapacity), ended(R);
  for (int64_t row = 0; row < R; ++row) {
    slots[row] = row;
    history[row * kCapacity + kSuffix - 1] = 7 * row % kVocab;
  }
  const int64_t columns[] = {0, kPrompt}, rows[] = {0, R}, end_bounds[] = {0, 0};
  const DecodeBatch batch{
      {history.data(), {R, kCapacity}}, {drawn.data(), {R}}, {slots.data(), {R}},
      {prefix_len.data(), {R}},         {columns, {1, 2}},   {rows, {1, 2}}};
  const float *ones = numbers.fill(R, 1), *nothing = numbers.fill(R, 0);
  const Tensor<const int64_t, 1> none{zeros.data(), {R}};
  Draws draws{};
  draws.temperature = draws.top_p = {ones, {R}};
  draws.min_p = {nothing, {R}};
  draws.top_k = draws.seed = draws.prompt = draws.end_set = none;
  draws.sample = {slots.data(), {R}};
  draws.max_new_tokens = {many.data(), {R}};
  draws.end_bounds = {end_bounds, {2}};
  std::vector<float> workspace(ops.decoder->workspace_floats(model, R, R));
  const Step step{*ops.decoder, model, cache, batch, draws, {ended.data(), {R}}, workspace.data()};
  step.run();
  return measured_step(&step) == 1 && drawn[0] == kSuffix + 2 ? 0 : 1;
}
