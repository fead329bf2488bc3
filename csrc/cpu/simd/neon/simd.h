// Four floats in a NEON register (64-bit Arm).
#pragma once

#include <arm_neon.h>

#include <cstring>

#include "../../../tensor.h"

namespace t2::neon {

inline bool supported() { return true; }  // every 64-bit Arm has it

constexpr int kWidth = 4;            // floats in one Floats
constexpr int kRegisters = 32;       // of Floats
constexpr int kTileRows = 6;         // rows of a GEMM tile: 6 x 4 accumulators of 32 registers
constexpr int kSharingTileRows = 6;  // where several tiles share their columns
constexpr int kTilePanels = 1;       // panels of 16 columns in a GEMM tile
constexpr int kStripPanels = 1;      // likewise of queries in a strip of attention

using Floats = float32x4_t;

inline Floats load(const float* from) { return vld1q_f32(from); }
inline Floats load(const Bfloat16* from) {
  const uint16x4_t bits = vld1_u16(reinterpret_cast<const uint16_t*>(from));
  return vreinterpretq_f32_u32(vshll_n_u16(bits, 16));
}
inline Floats load(const Float16* from) {
  const uint16x4_t bits = vld1_u16(reinterpret_cast<const uint16_t*>(from));
  return vcvt_f32_f16(vreinterpret_f16_u16(bits));
}
inline Floats load(const int8_t* from) {
  int32_t four;
  std::memcpy(&four, from, sizeof four);
  const int16x8_t codes = vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four)));
  return vcvtq_f32_s32(vmovl_s16(vget_low_s16(codes)));
}
inline void store(float* to, Floats x) { vst1q_f32(to, x); }
inline Floats broadcast(float x) { return vdupq_n_f32(x); }
inline Floats add(Floats a, Floats b) { return vaddq_f32(a, b); }
inline Floats sub(Floats a, Floats b) { return vsubq_f32(a, b); }
inline Floats mul(Floats a, Floats b) { return vmulq_f32(a, b); }
inline Floats div(Floats a, Floats b) { return vdivq_f32(a, b); }
inline Floats max(Floats a, Floats b) { return vmaxq_f32(a, b); }
inline Floats min(Floats a, Floats b) { return vminq_f32(a, b); }
// value where x >= limit, 0 elsewhere
inline Floats where_at_least(Floats x, Floats limit, Floats value) {
  return vreinterpretq_f32_u32(vandq_u32(vcgeq_f32(x, limit), vreinterpretq_u32_f32(value)));
}
// Bit i is set where x >= limit in lane i.
inline uint32_t at_least(Floats x, Floats limit) {
  const uint32x4_t bit = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(vcgeq_f32(x, limit), bit));
}
inline Floats fma(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
inline Floats round(Floats x) { return vrndnq_f32(x); }
// x * 2^n for integer-valued n in [-252, 254]: in two steps, as on every other machine.
inline Floats scale_by_power(Floats x, Floats n) {
  const int32x4_t whole = vcvtnq_s32_f32(n);
  const int32x4_t half = vshrq_n_s32(whole, 1);
  const int32x4_t rest = vsubq_s32(whole, half);
  const int32x4_t bias = vdupq_n_s32(127);
  const Floats first = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
  const Floats second = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, bias), 23));
  return mul(mul(x, first), second);
}
// x * 2^n for integer-valued n when both are normal numbers; 0 for x = 1 and n = -127.
inline Floats add_to_exponent(Floats x, Floats n) {
  const int32x4_t exponent = vshlq_n_s32(vcvtnq_s32_f32(n), 23);
  return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(x), exponent));
}
// x * 2^n when both are normal numbers and shifted is kShift + n.
inline Floats scale_by_low_bits(Floats x, Floats shifted) {
  const int32x4_t exponent = vshlq_n_s32(vreinterpretq_s32_f32(shifted), 23);
  return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(x), exponent));
}
// Lane j of row i goes to lane i of row j.
inline void transpose(Floats (&x)[kWidth]) {
  const float64x2_t even_top = vreinterpretq_f64_f32(vtrn1q_f32(x[0], x[1]));
  const float64x2_t odd_top = vreinterpretq_f64_f32(vtrn2q_f32(x[0], x[1]));
  const float64x2_t even_bottom = vreinterpretq_f64_f32(vtrn1q_f32(x[2], x[3]));
  const float64x2_t odd_bottom = vreinterpretq_f64_f32(vtrn2q_f32(x[2], x[3]));
  x[0] = vreinterpretq_f32_f64(vtrn1q_f64(even_top, even_bottom));
  x[1] = vreinterpretq_f32_f64(vtrn1q_f64(odd_top, odd_bottom));
  x[2] = vreinterpretq_f32_f64(vtrn2q_f64(even_top, even_bottom));
  x[3] = vreinterpretq_f32_f64(vtrn2q_f64(odd_top, odd_bottom));
}
// Over the lanes, pairing lane i with lane i + half.
inline float reduce_add(Floats x) {
  const float32x2_t sum = vadd_f32(vget_low_f32(x), vget_high_f32(x));
  return vget_lane_f32(sum, 0) + vget_lane_f32(sum, 1);
}
inline float reduce_max(Floats x) {
  const float32x2_t top = vmax_f32(vget_low_f32(x), vget_high_f32(x));
  return vget_lane_f32(vpmax_f32(top, top), 0);
}

using Ints = int32x4_t;  // kWidth int32s, or the codes that make them

inline Ints load(const int32_t* from) { return vld1q_s32(from); }
inline void store(int32_t* to, Ints x) { vst1q_s32(to, x); }
inline Ints broadcast(int32_t x) { return vdupq_n_s32(x); }
inline Floats to_floats(Ints x) { return vcvtq_f32_s32(x); }

constexpr int kSteps = 1;        // a quad of codes is multiplied at once
constexpr int kCodeOffset = 0;   // of the weights' codes, as they are multiplied
constexpr int kCodeBytes = 1;    // of a code of the left side
constexpr int kCodeScratch = 2;  // registers beside those of sums and operands
constexpr bool kWidenCodes = false;

// kWidth codes from k on, to their place in the row.
inline void store_codes(int8_t* row, int64_t k, Floats x) {
  const int16x4_t half = vmovn_s32(vcvtnq_s32_f32(x));
  const int32x2_t codes = vreinterpret_s32_s8(vmovn_s16(vcombine_s16(half, half)));
  const int32_t four = vget_lane_s32(codes, 0);
  std::memcpy(row + k, &four, sizeof four);
}
template <int Step>
Ints load_codes(const int8_t* quad, int part) {
  return vreinterpretq_s32_s8(vld1q_s8(quad + part * 4 * kWidth));
}
// Two products of codes fit 16 bits, whose sums in pairs are those of two quads.
inline Ints dot(Ints sum, Ints x, Ints weight) {
  const int8x16_t a = vreinterpretq_s8_s32(x), b = vreinterpretq_s8_s32(weight);
  const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
  const int16x8_t high = vmull_s8(vget_high_s8(a), vget_high_s8(b));
  return vpadalq_s16(sum, vpaddq_s16(low, high));
}

}  // namespace t2::neon
