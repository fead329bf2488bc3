// What the mma.sync kernels share: a ring of tiles of keys in shared memory, the product of a
// warp's queries with them, and the union of what several warps have of the same queries.
#pragma once

#include <cuda_pipeline.h>

#include "fragments.h"

namespace t2 {

// Tiles of keys and values [kKeys, kStride], of which some arrive while another is read. Rows lie
// an odd number of 16 bytes apart, so that eight of them meet no bank twice.
template <typename T, int kWidth_, int kKeys_, int kStages_, int kWarps_>
struct MmaRing {
  static constexpr int kWidth = kWidth_, kKeys = kKeys_, kStages = kStages_, kWarps = kWarps_;
  static constexpr int kThreads = kWarps * kWarpSize;
  static constexpr int kStride = kWidth + 8;
  static constexpr int kUnit = 8;       // elements of one copy
  static constexpr int kCopyLanes = 8;  // threads that copy one row together
  static constexpr size_t kBytes = sizeof(T) * 2 * kStages * kKeys * kStride;
  static_assert(kWidth % 16 == 0 && kKeys % 16 == 0 && kStages > 1);

  T* tiles;

  __device__ T* keys(int tile) const { return tiles + tile % kStages * 2 * kKeys * kStride; }
  __device__ T* values(int tile) const { return keys(tile) + kKeys * kStride; }

  // Starts the copy of a unit. What is not there, and columns past head_dim, become zeros.
  __device__ static void copy_unit(T* to, const T* row, int d, bool there, const Problem<T>& p) {
    if (p.aligned) {
      const bool inside = there && d < p.head_dim;
      __pipeline_memcpy_async(to, inside ? row + d : row, 16, inside ? 0 : 16);
      return;
    }
#pragma unroll
    for (int i = 0; i < kUnit; ++i) to[i] = there && d + i < p.head_dim ? row[d + i] : T{0};
  }

  // Starts the copy of a tile by the whole block, of the keys before num_keys.
  // place: of a key, its row of keys and its row of values in device memory.
  template <typename Place>
  __device__ void copy(int tile, int num_keys, const Place& place, const Problem<T>& p) const {
    const int lane = threadIdx.x % kCopyLanes;
#pragma unroll 1
    for (int row = threadIdx.x / kCopyLanes; row < kKeys; row += kThreads / kCopyLanes) {
      const int key = tile * kKeys + row;
      const bool there = key < num_keys;
      const auto from = place(min(key, num_keys - 1));
#pragma unroll
      for (int d = kUnit * lane; d < kWidth; d += kUnit * kCopyLanes) {
        copy_unit(keys(tile) + row * kStride + d, from.k, d, there, p);
        copy_unit(values(tile) + row * kStride + d, from.v, d, there, p);
      }
    }
  }
};

// Sixteen queries of a warp.
template <typename T, typename Ring>
struct MmaQueries : Softmax<Ring::kWidth> {
  uint32_t q[Ring::kWidth / 16][4];

  // keys, values: [kKeys, kStride] in shared memory, of which num_keys are there.
  template <int kKeys>
  __device__ void attend(const T* keys, const T* values, int num_keys, const Problem<T>& p) {
    const int lane = threadIdx.x % kWarpSize;
    uint32_t b[4];
    float scores[kKeys / 8][4] = {};
    const T* const key = keys + (lane / 16 * 8 + lane % 8) * Ring::kStride + lane / 8 % 2 * 8;
#pragma unroll
    for (int step = 0; step < Ring::kWidth / 16; ++step) {
#pragma unroll
      for (int n = 0; n < kKeys / 8; n += 2) {
        load_matrices(b, key + n * 8 * Ring::kStride + step * 16);
        multiply_add<T>(scores[n], q[step], b[0], b[1]);
        multiply_add<T>(scores[n + 1], q[step], b[2], b[3]);
      }
    }
    uint32_t weights[kKeys / 16][4];
    this->template weigh<T, kKeys>(weights, scores, num_keys, p.scale);
    const T* const value = values + lane % 16 * Ring::kStride + lane / 16 * 8;
#pragma unroll
    for (int step = 0; step < kKeys / 16; ++step) {
#pragma unroll
      for (int n = 0; n < Ring::kWidth / 8; n += 2) {
        load_transposed(b, value + step * 16 * Ring::kStride + n * 8);
        multiply_add<T>(this->acc[n], weights[step], b[0], b[1]);
        multiply_add<T>(this->acc[n + 1], weights[step], b[2], b[3]);
      }
    }
  }
};

// The keys 0 to num_keys on their way through a block's ring.
template <typename T, typename Ring, typename Place>
struct Feed {
  const Ring ring;
  const int num_keys;
  const Place place;
  const Problem<T>& p;

  // Starts the first copies.
  __device__ Feed(Ring ring, int num_keys, Place place, const Problem<T>& p)
      : ring(ring), num_keys(num_keys), place(place), p(p) {
    for (int tile = 0; tile < Ring::kStages - 1; ++tile) copy(tile);
  }

  __device__ int num_tiles() const { return (num_keys + Ring::kKeys - 1) / Ring::kKeys; }

  __device__ void copy(int tile) const {
    if (tile < num_tiles()) ring.copy(tile, num_keys, place, p);
    __pipeline_commit();
  }

  // kSharing neighbouring warps have the same queries and take equal parts of a tile's keys.
  template <int kSharing>
  __device__ void attend(MmaQueries<T, Ring>& queries) const {
    constexpr int kPart = Ring::kKeys / kSharing;
    const int part = threadIdx.x / kWarpSize % kSharing * kPart;
#pragma unroll 1
    for (int tile = 0; tile < num_tiles(); ++tile) {
      __pipeline_wait_prior(Ring::kStages - 2);
      __syncthreads();  // the tile has arrived, and nobody reads the one before it any more
      copy(tile + Ring::kStages - 1);
      queries.template attend<kPart>(ring.keys(tile) + part * Ring::kStride,
                                     ring.values(tile) + part * Ring::kStride,
                                     num_keys - tile * Ring::kKeys - part, p);
    }
  }
};

// What every warp of a block has of the same queries, in shared memory.
template <int kWidth, int kWarps>
struct Parts {
  static constexpr int kStride = kWidth + 8;
  static constexpr size_t kBytes = sizeof(float) * kWarps * kWarpRows * (kStride + 2);

  float* acc;   // [kWarps, kWarpRows, kStride]
  float* top;   // [kWarps, kWarpRows]
  float* mass;  // [kWarps, kWarpRows]

  __device__ explicit Parts(void* shared)
      : acc(static_cast<float*>(shared)),
        top(acc + kWarps * kWarpRows * kStride),
        mass(top + kWarps * kWarpRows) {}

  __device__ void write(const Softmax<kWidth>& softmax) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = threadIdx.x / kWarpSize * kWarpRows + fragment_row() + 8 * half;
      const float total = sum_of_lanes<4>(softmax.mass[half]);
      if (threadIdx.x % 4 == 0) {
        top[row] = softmax.top[half];
        mass[row] = total;
      }
#pragma unroll
      for (int n = 0; n < kWidth / 8; ++n) {
        *reinterpret_cast<float2*>(acc + row * kStride + 8 * n + fragment_column()) =
            float2{softmax.acc[n][2 * half], softmax.acc[n][2 * half + 1]};
      }
    }
  }

  // Joins them, in the order of the warps: of a row its largest score and sum of weights, and
  // columns d and d + 1 of the sum of weighted values. Any thread may ask for any.
  struct Joined {
    float top = -FLT_MAX, mass = 0, low = 0, high = 0;
  };
  __device__ Joined join(int row, int d) const {
    Joined joined;
    for (int warp = 0; warp < kWarps; ++warp) {
      joined.top = fmaxf(joined.top, top[warp * kWarpRows + row]);
    }
    for (int warp = 0; warp < kWarps; ++warp) {
      const int at = warp * kWarpRows + row;
      const float decay = exp2_fast(top[at] - joined.top);
      joined.mass = fmaf(decay, mass[at], joined.mass);
      joined.low = fmaf(decay, acc[at * kStride + d], joined.low);
      joined.high = fmaf(decay, acc[at * kStride + d + 1], joined.high);
    }
    return joined;
  }
};

}  // namespace t2
