// The matrix product of codes: exact sums in int32, then scales and bias in one order of
// operations, so that every instruction set gives the same bits.
//
// A row of codes of the left side: the codes in the instruction set's order, zero up to a multiple
// of 64 of them; then where its sums start, which undoes the offset of the weights' codes.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "code_tile.h"
#include "product.h"

namespace t2::T2_ISA {

constexpr int64_t kCodeStep = 64;    // codes that matrix units take at once
constexpr int64_t kStartBytes = 64;  // after the codes; keeps rows whole cache lines

inline int64_t codes_of_row(int64_t depth) {
  return (depth + kCodeStep - 1) / kCodeStep * kCodeStep * kCodeBytes;
}
// Bytes of a row of codes.
inline int64_t code_width(int64_t depth) { return codes_of_row(depth) + kStartBytes; }
inline Tiling code_tiling(int64_t rows) { return {rows, kCodeTileRows, code_tile_panels}; }

// out = (accumulate ? out : 0) + (sums * (x_scale * scales) + bias), a row of the product.
inline void finish_row(const int32_t* sums, float x_scale, const float* scales, const float* bias,
                       float* out, int64_t columns, bool accumulate) {
  const Lanes row_scale = broadcast_lanes(x_scale);
  for (int64_t n = 0; n < columns; n += kLanes) {
    const int64_t rest = columns - n;
    Lanes value;
    for (int i = 0; i < kParts; ++i) value.part[i] = to_floats(load(sums + n + i * kWidth));
    value = mul(value, mul(row_scale, load_lanes(scales + n)));
    if (bias) value = add(value, load_rest(bias + n, rest, 0.0f));
    if (accumulate) value = add(load_rest(out + n, rest, 0.0f), value);
    store_rest(out + n, rest, value);
  }
}

// The rows [row, row + rows) by the columns [column, column + columns), the first of a panel; out
// points to their first element.
inline void gemm_codes(const Input& x, int64_t row, int64_t rows, const Matrix& weight,
                       int64_t column, int64_t columns, float* out, int64_t out_stride,
                       bool accumulate) {
  const int64_t quads = (weight.in_features + 3) / 4, codes_size = codes_of_row(x.depth);
  const int64_t a_stride = code_width(x.depth);
  const auto* panels = static_cast<const int8_t*>(weight.panels);
  const int8_t* end = panels + (weight.out_features + kPanel - 1) / kPanel * quads * 64;
  const Tiling tiling = code_tiling(rows);
  const int64_t width = tiling.panels * kPanel;
  alignas(64) int32_t sums[kCodeTileRows * kMaxPanels * kPanel];
  CodeUnit unit(tiling, quads);
  for (int64_t n = 0; n < columns; n += width) {
    const int64_t here = std::min(width, columns - n);
    const int64_t here_panels = (here + kPanel - 1) / kPanel;
    const int8_t* b = panels + (column + n) / kPanel * quads * 64;
    const int8_t* next = b + tiling.panels * quads * 64;
    unit.take(b, here_panels);
    int64_t first = row;
    for (int64_t i = 0; i < tiling.tiles; ++i) {
      const int64_t height = tiling.height - (i >= tiling.taller);
      const int8_t* a = static_cast<const int8_t*>(x.packed) + first * a_stride;
      const auto* start = reinterpret_cast<const int32_t*>(a + codes_size);
      const bool fetches = i == 0 && next < end;
      const char* ahead = reinterpret_cast<const char*>(fetches ? next : b);
      const int64_t ahead_step = fetches ? tiling.panels * 64 : 0;
      unit.run({a, a_stride, start, quads, sums, ahead, ahead_step}, height);
      for (int64_t r = 0; r < height; ++r) {
        finish_row(sums + r * here_panels * kPanel, x.scales[first + r], weight.scales + column + n,
                   weight.bias ? weight.bias + column + n : nullptr,
                   out + (first - row + r) * out_stride + n, here, accumulate);
      }
      first += height;
    }
  }
}

// The largest |x|, or nan when a value is not finite.
inline float largest_magnitude(const float* x, int64_t count) {
  const Lanes zero = broadcast_lanes(0.0f);
  Lanes top = zero, poison = zero;  // inf * 0 and nan * 0 are nan
  for (int64_t i = 0; i < count; i += kLanes) {
    const Lanes value = load_rest(x + i, count - i, 0.0f);
    top = max(top, max(value, sub(zero, value)));
    poison = fma(value, zero, poison);
  }
  return reduce_max(top) + reduce_add(poison);
}

// quantize_row's codes in the plain order, or in the left side's: write(k, codes) is given 16 at a
// time. Returns the scale.
template <typename Write>
float quantize(const float* x, int64_t depth, Write write) {
  constexpr float kMaxCode = 127.0f, kSmallest = 0x1p-100f;
  const float largest = largest_magnitude(x, depth);
  const bool plain = largest >= kSmallest;  // neither all but zero nor nan
  const Lanes inverse = broadcast_lanes(plain ? kMaxCode / largest : 0.0f);
  for (int64_t k = 0; k < depth; k += kLanes) {
    Lanes codes = plain ? mul(load_rest(x + k, depth - k, 0.0f), inverse) : inverse;
    for (Floats& part : codes.part) part = round(part);
    write(k, codes);
  }
  return plain || !(largest == largest) ? largest / kMaxCode : 0.0f;
}

// A row of the left side, and its scale.
inline void quantize_row(const float* x, int64_t depth, int8_t* codes, float* scale) {
  Lanes total = broadcast_lanes(0.0f);  // exact: 127 * 2^17 is below 2^24
  *scale = quantize(x, depth, [&](int64_t k, Lanes values) {
    for (int i = 0; i < kParts; ++i) store_codes(codes, k + i * kWidth, values.part[i]);
    total = add(total, values);
  });
  const int64_t written = (depth + kLanes - 1) / kLanes * kLanes * kCodeBytes;
  std::memset(codes + written, 0, code_width(depth) - written);
  const auto start = static_cast<int32_t>(-kCodeOffset * reduce_add(total));
  std::memcpy(codes + codes_of_row(depth), &start, sizeof start);
}

}  // namespace t2::T2_ISA
