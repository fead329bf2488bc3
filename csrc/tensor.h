// A borrowed view of dense, row-major memory: pointer and sizes. Owns nothing, checks nothing.
#pragma once

#include <cstdint>
#include <cstring>

namespace t2 {

// The upper half of a float32, and IEEE 754's half precision: types of storage, never computed
// with.
struct Bfloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

enum class Dtype { kFloat32, kBfloat16, kFloat16, kInt8 };

inline float to_float(Bfloat16 x) {
  const uint32_t bits = uint32_t{x.bits} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline float to_float(Float16 x) {
  const bool is_special = (x.bits & 0x7c00) == 0x7c00;  // inf or nan
  // As a float32 with the half's exponent: 2^112 too small, subnormal halves included.
  const uint32_t bits = (x.bits & 0x7fffu) << 13 | (is_special ? 0x7f800000u : 0);
  float value;
  std::memcpy(&value, &bits, sizeof value);
  if (!is_special) value *= 0x1p112f;
  return x.bits & 0x8000 ? -value : value;
}

// To nearest, ties to even. A nan stays one.
inline Bfloat16 to_bfloat16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
  return {static_cast<uint16_t>((x == x ? rounded : bits | 0x400000) >> 16)};
}

inline Float16 to_float16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  bits &= 0x7fffffff;
  uint32_t half;
  if (bits >= 0x47800000) {  // 2^16 and above, inf and nan
    half = bits > 0x7f800000 ? 0x7e00 : 0x7c00;
  } else if (bits < 0x38800000) {  // below 2^-14: subnormal, multiples of 2^-24
    float magnitude;
    std::memcpy(&magnitude, &bits, sizeof bits);
    magnitude += 0.5f;  // whose last place is 2^-24, so the addition rounds
    std::memcpy(&half, &magnitude, sizeof half);
    half -= 0x3f000000;
  } else {  // rounding may carry into the exponent, up to inf
    half = (bits - (112u << 23) + 0xfff + (bits >> 13 & 1)) >> 13;
  }
  return {static_cast<uint16_t>(sign | half)};
}

template <typename T, int Rank>
struct Tensor {
  T* data = nullptr;
  int64_t sizes[Rank] = {};

  int64_t size(int dim) const { return sizes[dim]; }

  int64_t numel() const {
    int64_t count = 1;
    for (int64_t size : sizes) count *= size;
    return count;
  }

  // All dimensions but the last, taken as one.
  int64_t rows() const {
    int64_t count = 1;
    for (int dim = 0; dim + 1 < Rank; ++dim) count *= sizes[dim];
    return count;
  }
};

// Memory whose type is known when it runs: weights and caches, as they are stored.
template <int Rank>
struct Stored {
  void* data = nullptr;
  Dtype dtype = Dtype::kFloat32;
  int64_t sizes[Rank] = {};

  int64_t size(int dim) const { return sizes[dim]; }
};

}  // namespace t2
