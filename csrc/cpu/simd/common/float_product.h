// Products with weights in floating point, in vector registers. Sets with a unit for matrices of
// bfloat16 have their own file of this name.
#pragma once

#include <cstdint>

#include "vector_product.h"

namespace t2::T2_ISA {

inline BlockShape float_block_shape(Dtype) { return kVectorBlocks; }
inline int64_t float_panels(Dtype, int64_t rows) { return float_tiling(rows).panels; }

// Nothing is packed: the values are read.
inline int64_t float_packed_bytes(Dtype, int64_t, int64_t) { return 0; }
inline void pack_floats(const float*, int64_t, int64_t, void*) {}

template <typename Weight>
void multiply_floats(const Input& x, const Matrix& weight, const Block& block, float* out,
                     int64_t out_stride, bool accumulate) {
  multiply_in_vectors<Weight>(x, weight, block, out, out_stride, accumulate);
}

}  // namespace t2::T2_ISA
