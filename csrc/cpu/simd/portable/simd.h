// Eight floats, no assumption about the machine. The compiler maps the loops to what it has.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "../../../tensor.h"

namespace t2::portable {

inline bool supported() { return true; }

constexpr int kWidth = 8;       // floats in one Floats
constexpr int kRegisters = 8;   // of Floats, when they are pairs of SSE registers
constexpr int kTileRows = 2;    // rows of a GEMM tile
constexpr int kTilePanels = 1;  // panels of 16 columns in a GEMM tile

struct Floats {
  float lane[kWidth];
};

inline Floats load(const float* from) {
  Floats x;
  std::memcpy(x.lane, from, sizeof x.lane);
  return x;
}
inline Floats load(const int8_t* from) {
  Floats x;
  for (int i = 0; i < kWidth; ++i) x.lane[i] = from[i];
  return x;
}
template <typename Half>  // Bfloat16 or Float16
inline Floats load(const Half* from) {
  Floats x;
  for (int i = 0; i < kWidth; ++i) x.lane[i] = to_float(from[i]);
  return x;
}
inline void store(float* to, Floats x) { std::memcpy(to, x.lane, sizeof x.lane); }

template <typename F>
inline Floats map(Floats a, Floats b, F f) {
  for (int i = 0; i < kWidth; ++i) a.lane[i] = f(a.lane[i], b.lane[i]);
  return a;
}
inline Floats broadcast(float x) {
  Floats y;
  for (float& lane : y.lane) lane = x;
  return y;
}
inline Floats add(Floats a, Floats b) {
  return map(a, b, [](float x, float y) { return x + y; });
}
inline Floats sub(Floats a, Floats b) {
  return map(a, b, [](float x, float y) { return x - y; });
}
inline Floats mul(Floats a, Floats b) {
  return map(a, b, [](float x, float y) { return x * y; });
}
inline Floats div(Floats a, Floats b) {
  return map(a, b, [](float x, float y) { return x / y; });
}
inline Floats max(Floats a, Floats b) {
  return map(a, b, [](float x, float y) { return x > y ? x : y; });
}
inline Floats min(Floats a, Floats b) {
  return map(a, b, [](float x, float y) { return x < y ? x : y; });
}
// value where x >= limit, 0 elsewhere
inline Floats where_at_least(Floats x, Floats limit, Floats value) {
  for (int i = 0; i < kWidth; ++i) {
    if (!(x.lane[i] >= limit.lane[i])) value.lane[i] = 0;
  }
  return value;
}
// Bit i is set where x >= limit in lane i.
inline uint32_t at_least(Floats x, Floats limit) {
  uint32_t bits = 0;
  for (int i = 0; i < kWidth; ++i) bits |= uint32_t{x.lane[i] >= limit.lane[i]} << i;
  return bits;
}
// a * b + c; rounded twice here, once where the machine has a fused instruction.
inline Floats fma(Floats a, Floats b, Floats c) { return add(mul(a, b), c); }
// For |x| < 2^22: past 1.5 2^23 a float has no fraction left, so the addition rounds it away.
inline Floats round(Floats x) {
  for (float& lane : x.lane) lane = (lane + 12582912.0f) - 12582912.0f;
  return x;
}
// x * 2^n for integer-valued n in [-252, 254]: in two steps, each an exact power of two.
inline Floats scale_by_power(Floats x, Floats n) {
  for (int i = 0; i < kWidth; ++i) {
    const int32_t whole = n.lane[i] == n.lane[i] ? static_cast<int32_t>(n.lane[i]) : 0;
    const int32_t half = whole >> 1;
    const uint32_t bits[2] = {static_cast<uint32_t>(half + 127) << 23,
                              static_cast<uint32_t>(whole - half + 127) << 23};
    float factors[2];
    std::memcpy(factors, bits, sizeof bits);
    x.lane[i] = x.lane[i] * factors[0] * factors[1];
  }
  return x;
}
// x * 2^n for integer-valued n when both are normal numbers; 0 for x = 1 and n = -127.
inline Floats add_to_exponent(Floats x, Floats n) {
  for (int i = 0; i < kWidth; ++i) {
    uint32_t bits;
    std::memcpy(&bits, &x.lane[i], sizeof bits);
    bits += static_cast<uint32_t>(static_cast<int32_t>(n.lane[i])) << 23;
    std::memcpy(&x.lane[i], &bits, sizeof bits);
  }
  return x;
}
// x * 2^n when both are normal numbers and shifted is kShift + n.
inline Floats scale_by_low_bits(Floats x, Floats shifted) {
  return map(x, shifted, [](float a, float b) {
    uint32_t bits, exponent;
    std::memcpy(&bits, &a, sizeof bits);
    std::memcpy(&exponent, &b, sizeof exponent);
    bits += exponent << 23;
    std::memcpy(&a, &bits, sizeof bits);
    return a;
  });
}
// Lane j of row i goes to lane i of row j.
inline void transpose(Floats (&x)[kWidth]) {
  for (int i = 0; i < kWidth; ++i) {
    for (int j = 0; j < i; ++j) std::swap(x[i].lane[j], x[j].lane[i]);
  }
}
// Over the lanes, pairing lane i with lane i + half.
inline float reduce_add(Floats x) {
  for (int half = kWidth / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) x.lane[i] += x.lane[i + half];
  }
  return x.lane[0];
}
inline float reduce_max(Floats x) {
  for (int half = kWidth / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) {
      x.lane[i] = x.lane[i] > x.lane[i + half] ? x.lane[i] : x.lane[i + half];
    }
  }
  return x.lane[0];
}

}  // namespace t2::portable
