// The uniform of one (seed, prompt, sample, step), as t2engine/ops/philox_uniform.py defines it.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace t2 {

// In [0, 1): 53 bits of Philox4x32-10. Salmon et al., SC 2011: constants in table 2, rounds in
// figure 2.
__device__ inline double uniform_of(int64_t seed, int64_t prompt, int64_t sample, int64_t step) {
  const auto high = [](uint64_t bits) { return uint32_t(bits >> 32); };
  uint32_t word[4] = {uint32_t(step), uint32_t(sample), uint32_t(prompt), high(uint64_t(prompt))};
  uint32_t key_low = uint32_t(seed), key_high = high(uint64_t(seed));
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint64_t product_low = uint64_t{0xD2511F53} * word[0];
    const uint64_t product_high = uint64_t{0xCD9E8D57} * word[2];
    word[0] = high(product_high) ^ word[1] ^ key_low;
    word[1] = uint32_t(product_high);
    word[2] = high(product_low) ^ word[3] ^ key_high;
    word[3] = uint32_t(product_low);
    key_low += 0x9E3779B9;
    key_high += 0xBB67AE85;
  }
  return (word[0] >> 5) * 0x1p-27 + (word[1] >> 6) * 0x1p-53;
}

}  // namespace t2
