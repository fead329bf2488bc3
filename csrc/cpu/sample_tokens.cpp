// C++ backend of t2engine/ops/sample_tokens.py.
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "ops.h"
#include "sampling.h"

namespace t2::T2_ISA {
namespace {

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
