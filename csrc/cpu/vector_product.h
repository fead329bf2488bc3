// A block of a product in vector registers.
#pragma once

#include <cstdint>

#include "../parallel.h"
#include "gemm.h"
#include "product.h"

namespace t2::T2_ISA {

// Of x, which stay in the second cache across panels.
constexpr BlockShape kVectorBlocks{72, 1};

// out points to the block's first element.
template <typename Weight>
void multiply_in_vectors(const Input& x, const Matrix& weight, const Block& block, float* out,
                         int64_t out_stride, bool accumulate) {
  const int64_t depth = weight.in_features;
  const auto* panels = static_cast<const Weight*>(weight.panels);
  const int64_t end = ceil_div(weight.out_features, kPanel) * kPanel * depth;
  gemm(x.values + block.row * depth, block.rows, panels + block.column * depth, panels + end, depth,
       out, out_stride, block.columns, weight.bias ? weight.bias + block.column : nullptr,
       accumulate);
}

}  // namespace t2::T2_ISA
