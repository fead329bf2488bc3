// C++ backend of t2engine/ops/philox_uniform.py.
#include "ops.h"

namespace t2::T2_ISA {
namespace {

struct Words {
  uint32_t word[4];
};

// Philox4x32-10. Salmon et al., SC 2011: constants in table 2, rounds in figure 2.
Words philox(Words counter, uint32_t key_low, uint32_t key_high) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product_low = uint64_t{0xD2511F53} * counter.word[0];
    const uint64_t product_high = uint64_t{0xCD9E8D57} * counter.word[2];
    counter = {{static_cast<uint32_t>(product_high >> 32) ^ counter.word[1] ^ key_low,
                static_cast<uint32_t>(product_high),
                static_cast<uint32_t>(product_low >> 32) ^ counter.word[3] ^ key_high,
                static_cast<uint32_t>(product_low)}};
    key_low += 0x9E3779B9;
    key_high += 0xBB67AE85;
  }
  return counter;
}

uint32_t low(int64_t bits) { return static_cast<uint32_t>(bits); }
uint32_t high(int64_t bits) { return static_cast<uint32_t>(static_cast<uint64_t>(bits) >> 32); }

}  // namespace

void philox_uniform(Tensor<double, 1> out, Tensor<const int64_t, 1> seed,
                    Tensor<const int64_t, 1> prompt, Tensor<const int64_t, 1> sample,
                    Tensor<const int64_t, 1> step, int num_threads) {
  parallel_rows(num_threads, out.size(0), 100, [&](int64_t row) {
    const Words counter{{low(step.data[row]), low(sample.data[row]), low(prompt.data[row]),
                         high(prompt.data[row])}};
    const Words random = philox(counter, low(seed.data[row]), high(seed.data[row]));
    out.data[row] = (random.word[0] >> 5) * 0x1p-27 + (random.word[1] >> 6) * 0x1p-53;
  });
}

}  // namespace t2::T2_ISA
