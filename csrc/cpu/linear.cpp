// C++ backend of t2engine/ops/linear.py.
#include <memory>

#include "ops.h"
#include "product.h"
#include "scratch.h"

namespace t2::T2_ISA {

void linear(Tensor<float, 2> out, Tensor<const float, 2> x, Stored<3> panels,
            std::optional<Tensor<const float, 1>> scales,
            std::optional<Tensor<const float, 1>> bias, int num_threads) {
  product(out, x, panels, scales, bias, false, false, num_threads);
}

void product(Tensor<float, 2> out, Tensor<const float, 2> x, Stored<3> panels,
             std::optional<Tensor<const float, 1>> scales,
             std::optional<Tensor<const float, 1>> bias, bool gated, bool accumulate,
             int num_threads) {
  const int64_t rows = x.size(0), depth = x.size(1), columns = out.size(1);
  const Matrix weight{panels.dtype,
                      panels.data,
                      scales ? scales->data : nullptr,
                      bias ? bias->data : nullptr,
                      gated ? 2 * columns : columns,
                      depth};
  const int64_t bytes = packed_bytes(weight.dtype, rows, depth);
  Scratch scratch(ceil_div(bytes, 4));
  float* const packed = scratch.take(ceil_div(bytes, 4));
  const std::unique_ptr<float[]> row_scales(new float[bytes > 0 ? rows : 0]);
  const Input input{x.data, rows, depth, packed, row_scales.get()};
  if (bytes > 0) {
    parallel_rows(num_threads, rows, 4 * depth, [&](int64_t row) {
      pack_row(weight.dtype, x.data + row * depth, row, depth, packed, row_scales.get());
    });
  }
  if (gated) {
    multiply_gated(input, weight, out.data, columns, num_threads);
  } else {
    multiply(input, weight, out.data, columns, accumulate, num_threads);
  }
}

}  // namespace t2::T2_ISA
