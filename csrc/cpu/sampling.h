// Drawing a token of one row of logits, without allocating: what t2engine/ops/sample_tokens.py and
// philox_uniform.py define, for those who have the rows at hand.
#pragma once

#include <cstdint>

namespace t2::T2_ISA {

constexpr int64_t kSampleBlock = 256;  // tokens whose weights are summed before they are weighed

// The floats of scratch that sample_row needs: three arrays of a number for each block, in
// whole vectors, and the weights of all blocks.
inline int64_t sample_scratch(int64_t vocab_size) {
  const int64_t blocks = (vocab_size + kSampleBlock - 1) / kSampleBlock;
  return 3 * ((blocks + 15) / 16 * 16) + blocks * kSampleBlock;
}

// Draws one token of logits [vocab_size]; logprob may be null. Throws std::invalid_argument, whose
// message ends where "in row ..." would follow, when the row has no distribution.
void sample_row(const float* logits, int64_t vocab_size, float temperature, int64_t top_k,
                float top_p, float min_p, double uniform, float* scratch, int64_t* token,
                float* logprob);

// The uniform of one (seed, prompt, sample, step), in [0, 1): 53 bits of Philox4x32-10.
// Salmon et al., SC 2011: constants in table 2, rounds in figure 2.
inline double uniform_of(int64_t seed, int64_t prompt, int64_t sample, int64_t step) {
  const auto low = [](int64_t bits) { return static_cast<uint32_t>(bits); };
  const auto high = [](int64_t bits) {
    return static_cast<uint32_t>(static_cast<uint64_t>(bits) >> 32);
  };
  uint32_t word[4] = {low(step), low(sample), low(prompt), high(prompt)};
  uint32_t key_low = low(seed), key_high = high(seed);
  for (int round = 0; round < 10; ++round) {
    const uint64_t product_low = uint64_t{0xD2511F53} * word[0];
    const uint64_t product_high = uint64_t{0xCD9E8D57} * word[2];
    word[0] = high(static_cast<int64_t>(product_high)) ^ word[1] ^ key_low;
    word[1] = static_cast<uint32_t>(product_high);
    word[2] = high(static_cast<int64_t>(product_low)) ^ word[3] ^ key_high;
    word[3] = static_cast<uint32_t>(product_low);
    key_low += 0x9E3779B9;
    key_high += 0xBB67AE85;
  }
  return (word[0] >> 5) * 0x1p-27 + (word[1] >> 6) * 0x1p-53;
}

}  // namespace t2::T2_ISA
