// Products with packed weights of every dtype: what linear and the decode step call.
#pragma once

#include <cstdint>

#include "../ops.h"

namespace t2::T2_ISA {

// The left side of products, dense rows. `packed` is what products with weights of one dtype read
// of it where they do not read the values, made once for all of them: codes, or parts of floats.
struct Input {
  const float* values;  // [rows, depth]
  int64_t rows, depth;
  const void* packed;
  const float* scales;  // [rows], of codes
};

// Bytes of rows packed for weights of a dtype; 0 where products read the values.
int64_t packed_bytes(Dtype weight, int64_t rows, int64_t depth);

// Packs x, the left side's row number `row`, into its place. For int8 weights x is about codes *
// scale: scale = absmax / 127, codes round to nearest even. A row without a value above 2^-100 has
// scale 0; one with an infinity or a nan has scale nan, and so has every product.
void pack_row(Dtype weight, const float* x, int64_t row, int64_t depth, void* packed,
              float* scales);

// out [x.rows, W.out_features] = (accumulate ? out : 0) + (x W^T + bias), rows of out out_stride
// apart. The added product is complete before it is added, so it equals out + linear(x).
void multiply(const Input& x, const Matrix& weight, float* out, int64_t out_stride, bool accumulate,
              int num_threads);

// out [x.rows, W.out_features / 2] = silu(x G^T) * (x U^T), G the first half of W's rows and U the
// second (each with its half of the bias), with the bits of linear and silu_mul.
void multiply_gated(const Input& x, const Matrix& weight, float* out, int64_t out_stride,
                    int num_threads);

// How rows are cut into blocks: so many at most, each block's first a multiple of the unit.
struct BlockShape {
  int64_t most_rows, unit;
};

// Rows and columns of a product, for one task. The first column begins a panel.
struct Block {
  int64_t row, rows, column, columns;
};

}  // namespace t2::T2_ISA
