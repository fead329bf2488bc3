// CUDA backend of t2engine/ops/sample_tokens.py.
#include <climits>
#include <stdexcept>
#include <string>

#include "../cuda_ops.h"
#include "check.h"
#include "sample_filters.h"
#include "stored.h"

namespace t2 {
namespace {

constexpr float kLog2E = 1.4426950408889634f;
constexpr int64_t kMaxTiles = 3072;  // whose tops and masses fit shared memory beside the scratch

template <typename T>
struct Arguments {
  int64_t* token;            // [rows]
  float* logprob;            // [rows]
  const T* logits;           // [rows, vocab_size]
  const float* temperature;  // [rows]
  const int64_t* top_k;      // [rows]
  const float* top_p;        // [rows]
  const float* min_p;        // [rows]
  const double* uniform;     // [rows]
  int vocab_size;
  int tiles;
};

// The token and its probability, to the block's first warp; no token for a row that has no
// distribution: +inf, nothing above -inf, or (where all weights are summed) nan. By the whole
// block.
template <typename Row>
__device__ Located sample(Row& row, int64_t top_k, float top_p, float min_p, double uniform,
                          FilterScratch& scratch) {
  const bool greedy = !(row.temperature > 0);
  const bool filtered = (0 < top_k && top_k < row.vocab_size) || top_p < 1 || min_p > 0;
  find_tops(row, !greedy && !filtered);
  if (!(fabsf(row.top) <= FLT_MAX)) return {};
  Cut kept{0, INT_MAX};
  if (greedy) {
    kept.key = key_of(from_float<typename Row::T>(row.top));
  } else if (filtered) {
    kept = filter(row, top_k, top_p, min_p, scratch);
  }
  const Measure<Row> weights{row, kept, ~uint32_t{0}, false};
  if (greedy || filtered) sum_tiles(row, weights);
  if (threadIdx.x >= kWarpLanes) return {};
  Located drawn = locate(row, greedy ? 0.0 : uniform, weights);
  if (greedy) drawn.share = 1;
  return drawn;
}

// One block per row. Shared memory: FilterScratch, then a double and a float for each tile.
template <typename T, bool kAligned>
__global__ void __launch_bounds__(kSampleThreads, 2) sample_tokens_kernel(const Arguments<T> a) {
  const int64_t r = blockIdx.x;
  auto& scratch = *static_cast<FilterScratch*>(shared_memory());
  auto* const masses = reinterpret_cast<double*>(&scratch + 1);
  const float temperature = a.temperature[r];
  // The bounds keep 0 * inf (nan) from appearing, and a logit of -inf from having weight.
  const float scale = fminf(fmaxf(kLog2E / temperature, 0x1p-120f), FLT_MAX);
  SampledRow<T, kAligned> row{a.logits + r * a.vocab_size,
                              masses,
                              reinterpret_cast<float*>(masses + a.tiles),
                              a.vocab_size,
                              a.tiles,
                              temperature,
                              scale,
                              -INFINITY};
  const Located drawn = sample(row, a.top_k[r], a.top_p[r], a.min_p[r], a.uniform[r], scratch);
  if (threadIdx.x != 0) return;
  // A row without a distribution gets a token that exists, and says so by its logprob: nan.
  a.token[r] = max(drawn.token, 0);
  a.logprob[r] = drawn.token < 0 ? NAN : float(log(drawn.share));
}

}  // namespace

void sample_tokens_cuda(Tensor<int64_t, 1> token, Tensor<float, 1> logprob, Stored<2> logits,
                        Tensor<const float, 1> temperature, Tensor<const int64_t, 1> top_k,
                        Tensor<const float, 1> top_p, Tensor<const float, 1> min_p,
                        Tensor<const double, 1> uniform, void* stream) {
  const Dtype dtype = common_dtype("sample_tokens", {{"logits", logits}});
  const int64_t rows = logits.size(0), vocab_size = logits.size(1);
  if (rows == 0) return;
  if (vocab_size < 1 || vocab_size > kMaxTiles * kTileTokens) {
    throw std::invalid_argument("sample_tokens: vocab_size must be from 1 to " +
                                std::to_string(kMaxTiles * kTileTokens) + " on CUDA, got " +
                                std::to_string(vocab_size));
  }
  const auto tiles = int((vocab_size + kTileTokens - 1) / kTileTokens);
  const size_t shared_bytes = sizeof(FilterScratch) + tiles * (sizeof(double) + sizeof(float));
  with_type(dtype, [&](auto element) {
    using T = decltype(element);
    const Arguments<T> arguments{token.data,
                                 logprob.data,
                                 static_cast<const T*>(logits.data),
                                 temperature.data,
                                 top_k.data,
                                 top_p.data,
                                 min_p.data,
                                 uniform.data,
                                 int(vocab_size),
                                 tiles};
    const auto run = [&](auto kernel) {
      kernel<<<unsigned(rows), kSampleThreads, shared_bytes, static_cast<cudaStream_t>(stream)>>>(
          arguments);
    };
    const bool aligned = rows_are_aligned(logits.data, vocab_size * int64_t(sizeof(T)));
    aligned ? run(sample_tokens_kernel<T, true>) : run(sample_tokens_kernel<T, false>);
  });
  T2_CUDA_CHECK(cudaGetLastError());
}

}  // namespace t2
