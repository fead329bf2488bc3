// Where a share of a row's mass is reached, in order of id.
#pragma once

#include "sample_row.h"

namespace t2 {

// The tokens above key, and those at it with an id of at most `last`.
struct Cut {
  uint32_t key;
  int last;

  __device__ bool keeps(uint32_t other, int token) const {
    return other > key || (other == key && token <= last);
  }
};

struct Located {
  int token = -1;      // none, where there is no mass
  double share = NAN;  // of the row's mass, that the token has
};

// Which tokens of a row count, and for how much: each the same, or its weight.
template <typename Row>
struct Measure {
  using T = typename Row::T;
  const Row& row;
  Cut kept;
  uint32_t most;  // the highest key that counts
  bool equally;

  __device__ float operator()(T logit, int token, int tile) const {
    const uint32_t key = key_of(logit);
    if (!kept.keeps(key, token) || key > most) return 0;
    return equally ? 1.0f : weight_of(to_float(logit), row.tops[tile], row.scale);
  }
  // What that counts for in the row.
  __device__ double factor(int tile) const {
    return equally ? 1.0f : weight_of(row.tops[tile], row.top, row.scale);
  }
};

// Fills masses with what the tokens of each tile measure. By the whole block.
template <typename Row>
__device__ void sum_tiles(const Row& row, const Measure<Row>& measure) {
  for (int tile = threadIdx.x; tile < row.tiles; tile += kSampleThreads) row.masses[tile] = 0;
  __syncthreads();
  for_each_tile(row, logit_of<typename Row::T>(measure.kept.key),
                [&](int tile, const Tile<Row>& logits) {
                  float sum = 0;
#pragma unroll
                  for (int i = 0; i < kTokensPerLane; ++i) {
                    sum += measure(logits.at[i], logits.token(i), tile);
                  }
                  sum = sum_of_warp(sum);
                  if (threadIdx.x % kWarpLanes == 0) {
                    row.masses[tile] = sum * measure.factor(tile);
                  }
                });
  __syncthreads();
}

// A place in a row, and the mass before it.
struct Place {
  int at;
  double before;
};

// The first lane whose sum, with those of all lanes before it and `before`, exceeds target; if
// there is none, the last with any mass. It has some: `own` is positive in one lane at least. To
// all lanes of the warp. Rounding may let a lane without mass exceed target: it is no candidate.
__device__ inline Place find_lane(double own, double through, double target, int lane) {
  const unsigned some = __ballot_sync(kAllLanes, own > 0);
  const unsigned beyond = __ballot_sync(kAllLanes, own > 0 && through > target);
  const int owner = beyond != 0 ? first_lane(beyond) : last_lane(some);
  const double before = of_lane_before(through, lane);
  return {owner, __shfl_sync(kAllLanes, before, owner)};
}

// The tile in which `fraction` of the row's mass is reached. at: -1 if there is no mass, or it is
// not finite. By one warp.
template <typename Row>
__device__ Place find_tile(const Row& row, double fraction, double& total, int lane) {
  const int share = (row.tiles + kWarpLanes - 1) / kWarpLanes;
  const int first = min(lane * share, row.tiles), stop = min(first + share, row.tiles);
  double own = 0;
  for (int tile = first; tile < stop; ++tile) own += row.masses[tile];
  const double through = sum_through_lane(own, lane);
  total = __shfl_sync(kAllLanes, through, kWarpLanes - 1);
  if (!(total > 0 && total < INFINITY)) return {-1, 0};
  const Place owner = find_lane(own, through, fraction * total, lane);
  Place place{-1, owner.before};
  double after = owner.before;
  for (int tile = owner.at * share; tile < min((owner.at + 1) * share, row.tiles); ++tile) {
    if (!(row.masses[tile] > 0)) continue;
    place = {tile, after};
    after += row.masses[tile];
    if (after > fraction * total) break;
  }
  return place;
}

// The first token with which the sum of measure, in order of id, exceeds `fraction` of all of it.
// masses: as sum_tiles(measure) leaves them. By one warp.
template <typename Row>
__device__ Located locate(const Row& row, double fraction, const Measure<Row>& measure) {
  using T = typename Row::T;
  const int lane = threadIdx.x % kWarpLanes;
  double total;
  const Place tile = find_tile(row, fraction, total, lane);
  if (tile.at < 0) return {};
  const double target = fraction * total, factor = measure.factor(tile.at);
  const auto mass_of = [&](T logit, int token) { return measure(logit, token, tile.at) * factor; };

  const Tile<Row> logits(row, tile.at);
  Place place{0, tile.before};  // the first token of the lane's pack that has the target
  double before = tile.before;
  bool found = false;
#pragma unroll
  for (int i = 0; i < kTokensPerLane; i += kPack<T>) {
    double own = 0;
#pragma unroll
    for (int j = 0; j < kPack<T>; ++j) own += mass_of(logits.at[i + j], logits.token(i + j));
    const double through = before + sum_through_lane(own, lane);
    if (found || __ballot_sync(kAllLanes, own > 0) == 0) continue;
    found = __ballot_sync(kAllLanes, own > 0 && through > target) != 0;
    const Place owner = find_lane(own, through, target, lane);
    place.before = owner.at == 0 ? before : owner.before;
    place.at = tile.at * kTileTokens + (i * kWarpLanes + owner.at * kPack<T>);
    before = __shfl_sync(kAllLanes, through, kWarpLanes - 1);
  }

  const Pack<T> pack =
      load_pack<false>(row.logits, place.at, row.vocab_size, from_float<T>(-INFINITY));
  Located located;
  double after = place.before;
#pragma unroll
  for (int j = 0; j < kPack<T>; ++j) {
    const double mass = mass_of(pack.at[j], place.at + j);
    if (!(mass > 0) || (located.token >= 0 && after > target)) continue;
    located = {place.at + j, mass / total};
    after += mass;
  }
  return located;
}

}  // namespace t2
