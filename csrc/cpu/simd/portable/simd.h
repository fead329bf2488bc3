// Eight floats, no assumption about the machine. The compiler maps the loops to what it has.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "../../../tensor.h"

namespace t2::portable {

inline bool supported() { return true; }

constexpr int kWidth = 8;            // floats in one Floats
constexpr int kRegisters = 8;        // of Floats, when they are pairs of SSE registers
constexpr int kTileRows = 2;         // rows of a GEMM tile
constexpr int kSharingTileRows = 2;  // where several tiles share their columns
constexpr int kTilePanels = 1;       // panels of 16 columns in a GEMM tile
constexpr int kStripPanels = 1;      // likewise of queries in a strip of attention

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

struct Ints {  // kWidth int32s, or the codes that make them
  int32_t lane[kWidth];
};

inline Ints load(const int32_t* from) {
  Ints x;
  std::memcpy(x.lane, from, sizeof x.lane);
  return x;
}
inline void store(int32_t* to, Ints x) { std::memcpy(to, x.lane, sizeof x.lane); }
inline Ints broadcast(int32_t x) {
  Ints y;
  for (int32_t& lane : y.lane) lane = x;
  return y;
}
inline Floats to_floats(Ints x) {
  Floats y;
  for (int i = 0; i < kWidth; ++i) y.lane[i] = static_cast<float>(x.lane[i]);
  return y;
}

// A quad of codes is multiplied in two steps, as 16-bit integers: first its elements 0 and 2, then
// 1 and 3.
constexpr int kSteps = 2;
constexpr int kCodeOffset = 0;   // of the weights' codes, as they are multiplied
constexpr int kCodeBytes = 2;    // of a code of the left side
constexpr int kCodeScratch = 1;  // registers beside those of sums and operands
constexpr bool kWidenCodes = false;

// kWidth codes from k on, to their place in the row.
inline void store_codes(int8_t* row, int64_t k, Floats x) {
  int16_t codes[kWidth];
  for (int i = 0; i < kWidth; ++i) {
    const int place = i / 4 * 4 + (i % 2 * 2 + i % 4 / 2);
    codes[place] = static_cast<int16_t>(round(x).lane[i]);
  }
  std::memcpy(row + 2 * k, codes, sizeof codes);
}
template <int Step>
Ints load_codes(const int8_t* quad, int part) {
  int16_t pairs[2 * kWidth];
  for (int i = 0; i < 2 * kWidth; ++i) pairs[i] = quad[part * 4 * kWidth + 2 * i + Step];
  Ints x;
  std::memcpy(x.lane, pairs, sizeof pairs);
  return x;
}
inline Ints dot(Ints sum, Ints x, Ints weight) {
  int16_t a[2 * kWidth], b[2 * kWidth];
  std::memcpy(a, x.lane, sizeof a);
  std::memcpy(b, weight.lane, sizeof b);
  for (int i = 0; i < kWidth; ++i) {
    sum.lane[i] += int32_t{a[2 * i]} * b[2 * i] + int32_t{a[2 * i + 1]} * b[2 * i + 1];
  }
  return sum;
}

}  // namespace t2::portable
