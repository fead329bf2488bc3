// Products with weights in floating point, in vector registers. Sets with a unit for matrices of
// bfloat16 have their own file of this name.
#pragma once

#include <cstdint>

#include "gemm.h"
#include "product.h"

namespace t2::T2_ISA {

constexpr int64_t kFloatBlockRows = 72;  // of x, which stay in the second cache across panels
constexpr int64_t kFloatRowUnit = 1;     // blocks begin at its multiples

inline int64_t float_panels(int64_t rows) { return float_tiling(rows).panels; }

// Nothing is packed: the values are read.
inline int64_t float_packed_bytes(int64_t, int64_t) { return 0; }
inline void pack_floats(const float*, int64_t, int64_t, void*) {}

// out points to the block's first element.
template <typename Weight>
void multiply_floats(const Input& x, const Matrix& weight, const Block& block, float* out,
                     int64_t out_stride, bool accumulate) {
  const int64_t depth = weight.in_features;
  const auto* panels = static_cast<const Weight*>(weight.panels);
  const int64_t end = (weight.out_features + kPanel - 1) / kPanel * kPanel * depth;
  gemm(x.values + block.row * depth, block.rows, panels + block.column * depth, panels + end, depth,
       out, out_stride, block.columns, weight.bias ? weight.bias + block.column : nullptr,
       accumulate);
}

}  // namespace t2::T2_ISA
