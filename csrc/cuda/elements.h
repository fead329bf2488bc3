// Elements as they are stored (float, __half, __nv_bfloat16), computed with as float32, and read
// 16 bytes at a time where they are aligned.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

namespace t2 {

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(__half x) { return __half2float(x); }
__device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

template <typename T>
__device__ T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__device__ inline __half from_float<__half>(float x) {
  return __float2half_rn(x);
}
template <>
__device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

constexpr int kPackBytes = 16;
template <typename T>
constexpr int kPack = kPackBytes / int(sizeof(T));

template <typename T>
struct alignas(kPackBytes) Pack {
  T at[kPack<T>];
};

// Every row of row_bytes starts at a multiple of 16 bytes, and so ends at one.
inline bool rows_are_aligned(const void* data, int64_t row_bytes) {
  return reinterpret_cast<uintptr_t>(data) % kPackBytes == 0 && row_bytes % kPackBytes == 0;
}

// Elements [at, at + kPack) of row [size]; those past its end are `fill`. at: a multiple of kPack.
template <bool kAligned, typename T>
__device__ Pack<T> load_pack(const T* row, int64_t at, int64_t size, T fill) {
  Pack<T> pack;
  if (kAligned && at < size) {
    const uint4 words = *reinterpret_cast<const uint4*>(row + at);
    memcpy(&pack, &words, sizeof pack);
  } else {
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) pack.at[i] = at + i < size ? row[at + i] : fill;
  }
  return pack;
}

template <bool kAligned, typename T>
__device__ void store_pack(T* row, int64_t at, int64_t size, const Pack<T>& pack) {
  if (kAligned && at < size) {
    uint4 words;
    memcpy(&words, &pack, sizeof words);
    __stwb(reinterpret_cast<uint4*>(row + at), words);  // a plain store may be split in four
  } else {
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) {
      if (at + i < size) row[at + i] = pack.at[i];
    }
  }
}

}  // namespace t2
