// Sixteen floats at a time on every machine, whatever the width of its registers: one register
// with AVX-512, two with AVX2, four with NEON. Sums therefore pair the same elements in the same
// order everywhere, and machines with fused multiply-add agree bit for bit.
#pragma once

#include <cstdint>
#include <limits>

#include "simd.h"

namespace t2::T2_ISA {

constexpr int kLanes = 16;
constexpr int kParts = kLanes / kWidth;
constexpr float kLog2E = 1.44269504f;
// Added to a float below 2^21, it leaves the nearest integer in the low bits of the sum.
constexpr float kShift = 0x1.8p23f;

struct Lanes {
  Floats part[kParts];
};

inline Lanes load_lanes(const float* from) {
  Lanes x;
  for (int i = 0; i < kParts; ++i) x.part[i] = load(from + i * kWidth);
  return x;
}
inline void store_lanes(float* to, Lanes x) {
  for (int i = 0; i < kParts; ++i) store(to + i * kWidth, x.part[i]);
}
inline Lanes broadcast_lanes(float value) {
  Lanes x;
  for (Floats& part : x.part) part = broadcast(value);
  return x;
}

// The first `count` floats, the other lanes filled: memory past them is not touched.
inline Lanes load_first(const float* from, int64_t count, float fill) {
  float lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = i < count ? from[i] : fill;
  return load_lanes(lanes);
}
inline void store_first(float* to, int64_t count, Lanes x) {
  float lanes[kLanes];
  store_lanes(lanes, x);
  for (int64_t i = 0; i < count; ++i) to[i] = lanes[i];
}

// Sixteen floats, or the `count` that are left: for loops over a row of any width.
inline Lanes load_rest(const float* from, int64_t count, float fill) {
  return count >= kLanes ? load_lanes(from) : load_first(from, count, fill);
}
inline void store_rest(float* to, int64_t count, Lanes x) {
  if (count >= kLanes) {
    store_lanes(to, x);
  } else {
    store_first(to, count, x);
  }
}

inline Lanes add(Lanes a, Lanes b) {
  for (int i = 0; i < kParts; ++i) a.part[i] = add(a.part[i], b.part[i]);
  return a;
}
inline Lanes sub(Lanes a, Lanes b) {
  for (int i = 0; i < kParts; ++i) a.part[i] = sub(a.part[i], b.part[i]);
  return a;
}
inline Lanes mul(Lanes a, Lanes b) {
  for (int i = 0; i < kParts; ++i) a.part[i] = mul(a.part[i], b.part[i]);
  return a;
}
inline Lanes div(Lanes a, Lanes b) {
  for (int i = 0; i < kParts; ++i) a.part[i] = div(a.part[i], b.part[i]);
  return a;
}
inline Lanes max(Lanes a, Lanes b) {
  for (int i = 0; i < kParts; ++i) a.part[i] = max(a.part[i], b.part[i]);
  return a;
}
// value where x >= limit, 0 elsewhere (and where x is nan).
inline Lanes where_at_least(Lanes x, Lanes limit, Lanes value) {
  for (int i = 0; i < kParts; ++i) {
    value.part[i] = where_at_least(x.part[i], limit.part[i], value.part[i]);
  }
  return value;
}
// Bit i is set where lane i of x is at least that of limit.
inline uint32_t at_least(Lanes x, Lanes limit) {
  uint32_t bits = 0;
  for (int i = 0; i < kParts; ++i) bits |= at_least(x.part[i], limit.part[i]) << (i * kWidth);
  return bits;
}
inline Lanes fma(Lanes a, Lanes b, Lanes c) {
  for (int i = 0; i < kParts; ++i) c.part[i] = fma(a.part[i], b.part[i], c.part[i]);
  return c;
}

// e^x, relative error below 2e-7 for x in [-87, 88]; 0 below -104, +inf above 89, nan of nan.
// Cody and Waite, Software Manual for the Elementary Functions (1980), chapter 6: reduce by
// multiples of ln 2 held in two parts, then a polynomial on [-ln 2 / 2, ln 2 / 2].
inline Floats exp(Floats x) {
  x = min(broadcast(89.0f), max(broadcast(-104.0f), x));   // nan, when second, is kept
  const Floats n = round(mul(x, broadcast(1.44269504f)));  // 1 / ln 2
  Floats r = fma(n, broadcast(-0.693359375f), x);          // ln 2, its leading 9 bits
  r = fma(n, broadcast(2.12194440e-4f), r);                // and the rest
  Floats p = broadcast(1.0f / 5040.0f);  // Taylor; the remainder r^8 / 8! is below 6e-9
  p = fma(p, r, broadcast(1.0f / 720.0f));
  p = fma(p, r, broadcast(1.0f / 120.0f));
  p = fma(p, r, broadcast(1.0f / 24.0f));
  p = fma(p, r, broadcast(1.0f / 6.0f));
  p = fma(p, r, broadcast(0.5f));
  p = fma(p, r, broadcast(1.0f));
  p = fma(p, r, broadcast(1.0f));
  return scale_by_power(p, n);
}
inline Lanes exp(Lanes x) {
  for (Floats& part : x.part) part = exp(part);
  return x;
}

// 2^x for x below 127.5, relative error below 1e-7 down to -126 (a minimax polynomial on
// [-1/2, 1/2]); exactly 1 at 0, and exactly 0 from -127, so that a masked key changes nothing.
inline Floats exp2(Floats x) {
  x = max(broadcast(-127.0f), x);  // in this order a nan stays one
  const Floats n = round(x);
  const Floats r = sub(x, n);
  Floats p = broadcast(1.53533621e-4f);
  p = fma(p, r, broadcast(1.33988746e-3f));
  p = fma(p, r, broadcast(9.61843736e-3f));
  p = fma(p, r, broadcast(5.55033247e-2f));
  p = fma(p, r, broadcast(2.40226479e-1f));
  p = fma(p, r, broadcast(6.93147203e-1f));
  p = fma(p, r, broadcast(1.0f));
  return add_to_exponent(p, n);
}

inline Lanes exp2(Lanes x) {
  for (Floats& part : x.part) part = exp2(part);
  return x;
}

// Sum and maximum over the lanes, always pairing lane i with lane i + half: first registers with
// registers, down to one (fold), then inside it.
inline Floats fold_add(Lanes x) {
  for (int half = kParts / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) x.part[i] = add(x.part[i], x.part[i + half]);
  }
  return x.part[0];
}
inline Floats fold_max(Lanes x) {
  for (int half = kParts / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) x.part[i] = max(x.part[i], x.part[i + half]);
  }
  return x.part[0];
}
inline float reduce_add(Lanes x) { return reduce_add(fold_add(x)); }
inline float reduce_max(Lanes x) { return reduce_max(fold_max(x)); }

}  // namespace t2::T2_ISA
