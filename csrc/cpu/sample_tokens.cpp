// C++ backend of t2engine/ops/sample_tokens.py.
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "ops.h"
#include "sample_filters.h"

namespace t2::T2_ISA {
namespace {

// The first token whose cumulative weight exceeds uniform times the total. Rounding may leave its
// block's running sum a little short of the block's sum; then it is the last one with a weight.
int64_t draw(const SampledRow& row, bool filtered, double uniform, float* logprob) {
  const double total = total_of(row), target = uniform * total;
  double before = 0;
  int64_t block = 0;
  for (int64_t i = 0; i < row.blocks; ++i) {
    const double mass = double{row.sums[i]} * row.factors[i];
    if (row.tops[i] < row.floor || mass == 0) continue;
    block = i;
    if (before + mass > target) break;
    before += mass;
  }
  float padded[kBlock], weights[kBlock];
  const float* logits = block_of(row, block, padded);
  const Lanes floor = broadcast_lanes(row.floor);
  weigh(row, logits, row.tops[block], [&](int64_t i, Lanes weight) {
    if (filtered) weight = load_lanes(row.weights + block * kBlock + i);
    store_lanes(weights + i, where_at_least(load_lanes(logits + i), floor, weight));
  });
  int64_t token = 0;
  const double factor = row.factors[block];
  for (int64_t i = 0; i < kBlock; ++i) {
    if (weights[i] == 0) continue;
    token = i;
    before += weights[i] * factor;
    if (before > target) break;
  }
  if (logprob != nullptr) {
    *logprob = static_cast<float>(std::log(weights[token] * factor / total));
  }
  return block * kBlock + token;
}

// Scratch for as many rows as there are threads: one call allocates once, and touches little of it
// where there are no filters.
class Scratches {
 public:
  Scratches(int count, int64_t floats)
      : floats_(floats), data_(new float[count * floats]), taken_(count) {}

  // Calls body(scratch) with one that no other thread has; there is one for every thread.
  template <typename Body>
  void lend(Body body) {
    size_t i = 0;
    while (taken_[i].exchange(true, std::memory_order_acquire)) i = (i + 1) % taken_.size();
    try {
      body(data_.get() + static_cast<int64_t>(i) * floats_);
    } catch (...) {
      taken_[i].store(false);
      throw;
    }
    taken_[i].store(false, std::memory_order_release);
  }

 private:
  const int64_t floats_;
  const std::unique_ptr<float[]> data_;
  std::vector<std::atomic<bool>> taken_;
};

}  // namespace

void sample_row(const float* logits, int64_t vocab_size, float temperature, int64_t top_k,
                float top_p, float min_p, double uniform, float* scratch, int64_t* token,
                float* logprob) {
  if (!(temperature >= 0 && temperature < kInfinity)) {
    throw std::invalid_argument("sample_tokens: temperature must be at least 0, got " +
                                std::to_string(temperature));
  }
  const int64_t blocks = (vocab_size + kBlock - 1) / kBlock, room = whole_lanes(blocks);
  // The bounds keep 0 * inf (nan) from appearing, and a logit of -inf from being less than -125.
  const float scale = std::clamp(kLog2E / temperature, 0x1p-120f, kLargest);
  SampledRow row{logits,
                 vocab_size,
                 blocks,
                 temperature,
                 scale,
                 scratch,
                 scratch + room,
                 scratch + 2 * room,
                 scratch + 3 * room,
                 0,
                 0};
  if (temperature == 0) {
    find_tops(row, nullptr);
    const int64_t start = (std::find(row.tops, row.tops + blocks, row.top) - row.tops) * kBlock;
    *token = std::find(logits + start, logits + vocab_size, row.top) - logits;
    if (logprob != nullptr) *logprob = 0;
    return;
  }
  const bool filtered = (0 < top_k && top_k < vocab_size) || top_p < 1 || min_p > 0;
  if (filtered) {
    filter(row, top_k, top_p, min_p);
  } else {
    weigh_all(row);
  }
  *token = draw(row, filtered, uniform, logprob);
}

void sample_tokens(Tensor<int64_t, 1> token, Tensor<float, 1> logprob,
                   Tensor<const float, 2> logits, Tensor<const float, 1> temperature,
                   Tensor<const int64_t, 1> top_k, Tensor<const float, 1> top_p,
                   Tensor<const float, 1> min_p, Tensor<const double, 1> uniform, int num_threads) {
  const int64_t rows = logits.size(0), vocab_size = logits.size(1);
  const int count = static_cast<int>(std::clamp<int64_t>(rows, 1, std::max(1, num_threads)));
  Scratches scratches(count, sample_scratch(vocab_size));
  parallel_rows(count, rows, 30 * vocab_size, [&](int64_t r) {
    scratches.lend([&](float* scratch) {
      try {
        sample_row(logits.data + r * vocab_size, vocab_size, temperature.data[r], top_k.data[r],
                   top_p.data[r], min_p.data[r], uniform.data[r], scratch, token.data + r,
                   logprob.data + r);
      } catch (const std::invalid_argument& error) {
        throw std::invalid_argument(error.what() + (" in row " + std::to_string(r)));
      }
    });
  });
}

}  // namespace t2::T2_ISA
