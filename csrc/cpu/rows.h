// What is done to a row of activations, by the operations and by the native step alike. A row may
// be written where it is read.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>

#include "vector_math.h"

namespace t2::T2_ISA {

inline void rms_norm_row(float* to, const float* from, const float* weight, int64_t width,
                         float eps) {
  Lanes squares = broadcast_lanes(0.0f);
  for (int64_t i = 0; i < width; i += kLanes) {
    const Lanes value = load_rest(from + i, width - i, 0.0f);
    squares = fma(value, value, squares);
  }
  const float mean = reduce_add(squares) / static_cast<float>(width);
  const Lanes scale = broadcast_lanes(1.0f / std::sqrt(mean + eps));
  for (int64_t i = 0; i < width; i += kLanes) {
    const Lanes value = mul(load_rest(from + i, width - i, 0.0f), scale);
    store_rest(to + i, width - i, mul(value, load_rest(weight + i, width - i, 0.0f)));
  }
}

inline void layer_norm_row(float* to, const float* from, const float* weight, const float* bias,
                           int64_t width, float eps) {
  Lanes sum = broadcast_lanes(0.0f);
  for (int64_t i = 0; i < width; i += kLanes) {
    sum = add(sum, load_rest(from + i, width - i, 0.0f));
  }
  const float mean = reduce_add(sum) / static_cast<float>(width);
  const Lanes centre = broadcast_lanes(mean);

  // A second pass over the centred row: E[x^2] - E[x]^2 would cancel when the mean is large.
  Lanes squares = broadcast_lanes(0.0f);
  for (int64_t i = 0; i < width; i += kLanes) {
    const Lanes value = sub(load_rest(from + i, width - i, mean), centre);
    squares = fma(value, value, squares);
  }
  const float variance = reduce_add(squares) / static_cast<float>(width);
  const Lanes scale = broadcast_lanes(1.0f / std::sqrt(variance + eps));
  for (int64_t i = 0; i < width; i += kLanes) {
    const int64_t rest = width - i;
    const Lanes value = mul(sub(load_rest(from + i, rest, mean), centre), scale);
    const Lanes scaled = mul(value, load_rest(weight + i, rest, 0.0f));
    store_rest(to + i, rest, add(scaled, load_rest(bias + i, rest, 0.0f)));
  }
}

// One head; cos and sin [half] are those of its position.
inline void rotate_head(float* to, const float* from, const float* cos, const float* sin,
                        int64_t half, int64_t head_dim) {
  for (int64_t i = 0; i < half; i += kLanes) {
    const int64_t rest = half - i;
    const Lanes low = load_rest(from + i, rest, 0.0f);
    const Lanes high = load_rest(from + half + i, rest, 0.0f);
    const Lanes c = load_rest(cos + i, rest, 0.0f), s = load_rest(sin + i, rest, 0.0f);
    store_rest(to + i, rest, sub(mul(low, c), mul(high, s)));
    store_rest(to + half + i, rest, add(mul(high, c), mul(low, s)));
  }
  if (to != from) std::copy(from + 2 * half, from + head_dim, to + 2 * half);
}

// out[i] = silu(gate[i]) * up[i]
inline void silu_mul_row(float* out, const float* gate, const float* up, int64_t width) {
  const Lanes zero = broadcast_lanes(0.0f), one = broadcast_lanes(1.0f);
  for (int64_t i = 0; i < width; i += kLanes) {
    const int64_t rest = width - i;
    const Lanes x = load_rest(gate + i, rest, 0.0f);
    const Lanes silu = div(x, add(one, exp(sub(zero, x))));
    store_rest(out + i, rest, mul(silu, load_rest(up + i, rest, 0.0f)));
  }
}

// x Phi(x) = max(x, 0) - |x| Phi(-|x|), with Phi(-a) = exp(-a^2 / 2) p((a - K) / (a + K)) / (1 +
// a). The form is that of Shepherd and Laframboise, Math. Comp. 36 (1981), 249; the coefficients of
// p are the minimax fit for a in [0, 14], relative error 4e-8. Past 14 the tail is 0 in float.
inline Floats gelu_erf(Floats x) {
  constexpr float kCentre = 4.125f;
  constexpr float kCoefficients[] = {1.91149782e-4f,  -6.49263756e-3f, 1.94212794e-2f,
                                     -3.20104994e-2f, 2.61458084e-2f,  1.67466458e-2f,
                                     -9.62299705e-2f, 4.70568895e-1f};
  const Floats centre = broadcast(kCentre);
  const Floats a = max(sub(broadcast(0.0f), x), x);  // |x|
  const Floats u = div(sub(a, centre), add(a, centre));
  Floats p = broadcast(7.15887465e-4f);
#pragma GCC unroll 8
  for (float coefficient : kCoefficients) p = fma(p, u, broadcast(coefficient));
  const Floats gauss = exp(mul(mul(broadcast(-0.5f), a), a));
  const Floats tail = div(mul(p, gauss), add(broadcast(1.0f), a));
  return sub(max(broadcast(0.0f), x), mul(a, tail));
}

// 0.5 (1 + tanh(y)) = 1 / (1 + exp(-2 y)).
inline Floats gelu_tanh(Floats x) {
  const Floats one = broadcast(1.0f);
  const Floats cubic = fma(mul(x, x), broadcast(0.044715f), one);
  const Floats y = mul(mul(x, cubic), broadcast(-1.59576912f));  // -2 sqrt(2 / pi)
  return div(x, add(one, exp(y)));
}

inline void gelu_row(float* to, const float* from, int64_t width, bool tanh) {
  for (int64_t i = 0; i < width; i += kLanes) {
    Lanes value = load_rest(from + i, width - i, 0.0f);
    if (tanh) {
      for (Floats& part : value.part) part = gelu_tanh(part);
    } else {
      for (Floats& part : value.part) part = gelu_erf(part);
    }
    store_rest(to + i, width - i, value);
  }
}

// The signs of the Hadamard matrix of kLanes features: plus where i & j has an even number of bits.
inline constexpr auto kHadamardSigns = [] {
  std::array<std::array<float, kLanes>, kLanes> signs{};
  for (int i = 0; i < kLanes; ++i) {
    for (int j = 0; j < kLanes; ++j) {
      int bits = 0;
      for (int both = i & j; both > 0; both &= both - 1) ++bits;
      signs[i][j] = bits % 2 == 0 ? 1.0f : -1.0f;
    }
  }
  return signs;
}();

// Pairs of features `half` apart, from `half` features on, take their sums and differences.
inline void mix_pairs(float* x, int64_t width, int64_t half) {
  for (int64_t first = 0; first < width; first += 2 * half) {
    for (int64_t i = first; i < first + half; ++i) {
      const float a = x[i], b = x[i + half];
      x[i] = a + b;
      x[i + half] = a - b;
    }
  }
}

// Blocks of a power of two of features, mixed by the orthonormal Hadamard matrix.
inline void hadamard_row(float* to, const float* from, int64_t width, int64_t block) {
  const Lanes scale = broadcast_lanes(1.0f / std::sqrt(static_cast<float>(block)));
  int64_t half = 1;
  if (block >= kLanes) {  // the first kLanes of each block as one product
    for (int64_t first = 0; first < width; first += kLanes) {
      Lanes sum = broadcast_lanes(0.0f);
      for (int i = 0; i < kLanes; ++i) {
        sum = fma(broadcast_lanes(from[first + i]), load_lanes(kHadamardSigns[i].data()), sum);
      }
      store_lanes(to + first, sum);
    }
    half = kLanes;
  } else if (to != from) {
    std::copy_n(from, width, to);
  }
  for (; half < block; half *= 2) mix_pairs(to, width, half);
  for (int64_t i = 0; i < width; i += kLanes) {
    store_rest(to + i, width - i, mul(load_rest(to + i, width - i, 0.0f), scale));
  }
}

}  // namespace t2::T2_ISA
