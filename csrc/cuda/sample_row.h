// One row of logits of sample_tokens.cu, read by a block in tiles that a warp holds in registers.
//
// A tile's mass is the sum of its tokens' weights, exp((logit - top of the row) / temperature),
// found next to the tile's own top and then scaled. Which lane adds what, and in which order,
// depends on a token's place in its row alone.
#pragma once

#include <cfloat>
#include <cmath>

#include "elements.h"
#include "warp.h"

namespace t2 {

constexpr int kSampleThreads = 512;
constexpr int kSampleWarps = kSampleThreads / kWarpLanes;
constexpr int kTileTokens = 512;
constexpr int kTokensPerLane = kTileTokens / kWarpLanes;

// Shared memory is what all pointers but logits point to.
template <typename Stored, bool kIsAligned>  // for 16 bytes at a time
struct SampledRow {
  using T = Stored;
  static constexpr bool kAligned = kIsAligned;

  const T* logits;  // [vocab_size]
  double* masses;   // [tiles]
  float* tops;      // [tiles] the highest logit of each
  int vocab_size;
  int tiles;
  float temperature;
  float scale;  // log2(e) / temperature
  float top;    // the highest logit
};

// A logit as an integer of the same order; -0 is 0.
__device__ inline uint32_t bits_of(float x) { return __float_as_uint(x); }
__device__ inline uint32_t bits_of(__half x) { return __half_as_ushort(x); }
__device__ inline uint32_t bits_of(__nv_bfloat16 x) { return __bfloat16_as_ushort(x); }

template <typename T>
__device__ T from_bits(uint32_t bits);
template <>
__device__ inline float from_bits<float>(uint32_t bits) {
  return __uint_as_float(bits);
}
template <>
__device__ inline __half from_bits<__half>(uint32_t bits) {
  return __ushort_as_half(static_cast<unsigned short>(bits));
}
template <>
__device__ inline __nv_bfloat16 from_bits<__nv_bfloat16>(uint32_t bits) {
  return __ushort_as_bfloat16(static_cast<unsigned short>(bits));
}

template <typename T>
constexpr uint32_t kSignBit = uint32_t{1} << (8 * sizeof(T) - 1);

template <typename T>
__device__ uint32_t key_of(T x) {
  const uint32_t sign = kSignBit<T>, bits = bits_of(x);
  if ((bits & ~sign) == 0) return sign;
  return (bits & sign) != 0 ? ~bits & (sign | (sign - 1)) : bits | sign;
}

template <typename T>
__device__ float logit_of(uint32_t key) {
  const uint32_t sign = kSignBit<T>;
  const uint32_t bits = (key & sign) != 0 ? key ^ sign : ~key & (sign | (sign - 1));
  return to_float(from_bits<T>(bits));
}

// A token's weight next to one of logit `top`. The floor keeps -inf - -inf (nan) from appearing.
__device__ inline float weight_of(float logit, float top, float scale) {
  return exp2f((logit - fmaxf(top, -FLT_MAX)) * scale);
}

// The part of a tile that a lane holds: kPack tokens in a row, and again 32 kPack further.
template <typename Row>
struct Tile {
  using T = typename Row::T;
  T at[kTokensPerLane];
  int first;  // token

  __device__ Tile(const Row& row, int tile)
      : first(tile * kTileTokens + int(threadIdx.x) % kWarpLanes * kPack<T>) {
    const T nothing = from_float<T>(-INFINITY);
#pragma unroll
    for (int i = 0; i < kTokensPerLane; i += kPack<T>) {
      const Pack<T> pack = load_pack<Row::kAligned>(row.logits, token(i), row.vocab_size, nothing);
#pragma unroll
      for (int j = 0; j < kPack<T>; ++j) at[i + j] = pack.at[j];
    }
  }

  __device__ int token(int i) const {
    return first + i / kPack<T> * (kWarpLanes * kPack<T>)+i % kPack<T>;
  }
};

// Calls body(tile's number, Tile) in one warp for each tile that has a logit of at least `limit`.
template <typename Row, typename Body>
__device__ void for_each_tile(const Row& row, float limit, Body body) {
  for (int tile = threadIdx.x / kWarpLanes; tile < row.tiles; tile += kSampleWarps) {
    if (row.tops[tile] >= limit) body(tile, Tile<Row>(row, tile));
  }
}

// Fills tops, and masses where `weigh`; finds the row's top. By the whole block.
template <typename Row>
__device__ void find_tops(Row& row, bool weigh) {
  const int lane = threadIdx.x % kWarpLanes;
  for (int tile = threadIdx.x / kWarpLanes; tile < row.tiles; tile += kSampleWarps) {
    const Tile<Row> logits(row, tile);
    float top = -INFINITY, sum = 0;
#pragma unroll
    for (int i = 0; i < kTokensPerLane; ++i) top = fmaxf(top, to_float(logits.at[i]));
    top = max_of_warp(top);
    if (lane == 0) row.tops[tile] = top;
    if (!weigh) continue;
#pragma unroll
    for (int i = 0; i < kTokensPerLane; ++i) {
      sum += weight_of(to_float(logits.at[i]), top, row.scale);
    }
    sum = sum_of_warp(sum);
    if (lane == 0) row.masses[tile] = sum;
  }
  __syncthreads();
  float top = -INFINITY;
  for (int tile = lane; tile < row.tiles; tile += kWarpLanes) top = fmaxf(top, row.tops[tile]);
  row.top = max_of_warp(top);
  if (!weigh) return;
  for (int tile = threadIdx.x; tile < row.tiles; tile += kSampleThreads) {
    row.masses[tile] *= weight_of(row.tops[tile], row.top, row.scale);
  }
  __syncthreads();
}

}  // namespace t2
