// Products with packed weights of every dtype: what linear and the decode step call.
#pragma once

#include <cstdint>

#include "../ops.h"

namespace t2::T2_ISA {

// The left side of products, dense rows. For int8 weights its rows are also needed as codes, made
// once for all products that read it; codes and scales are not read for other weights.
struct Input {
  const float* values;  // [rows, depth]
  int64_t rows, depth;
  const int8_t* codes;  // [rows, code_width(depth)]
  const float* scales;  // [rows]
};

// Bytes of a row of codes. Their order is the instruction set's own.
int64_t code_width(int64_t depth);

// x is about codes * scale: scale = absmax / 127, codes round to nearest even. A row without a
// value above 2^-100 has scale 0; one with an infinity or a nan has scale nan, and so has every
// product.
void quantize_row(const float* x, int64_t depth, int8_t* codes, float* scale);

// out [x.rows, W.out_features] = (accumulate ? out : 0) + (x W^T + bias), rows of out out_stride
// apart. The added product is complete before it is added, so it equals out + linear(x).
void multiply(const Input& x, const Matrix& weight, float* out, int64_t out_stride, bool accumulate,
              int num_threads);

// out [x.rows, W.out_features / 2] = silu(x G^T) * (x U^T), G the first half of W's rows and U the
// second (each with its half of the bias), with the bits of linear and silu_mul.
void multiply_gated(const Input& x, const Matrix& weight, float* out, int64_t out_stride,
                    int num_threads);

}  // namespace t2::T2_ISA
