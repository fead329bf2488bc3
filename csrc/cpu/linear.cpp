// C++ backend of t2engine/ops/linear.py.
#include <memory>

#include "ops.h"
#include "product.h"

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
  Input input{x.data, rows, depth, nullptr, nullptr};
  std::unique_ptr<int8_t[]> codes;
  std::unique_ptr<float[]> row_scales;
  if (weight.dtype == Dtype::kInt8) {
    const int64_t width = code_width(depth);
    codes.reset(new int8_t[rows * width]);
    row_scales.reset(new float[rows]);
    parallel_rows(num_threads, rows, 4 * depth, [&](int64_t row) {
      quantize_row(x.data + row * depth, depth, codes.get() + row * width, row_scales.get() + row);
    });
    input.codes = codes.get();
    input.scales = row_scales.get();
  }
  if (gated) {
    multiply_gated(input, weight, out.data, columns, num_threads);
  } else {
    multiply(input, weight, out.data, columns, accumulate, num_threads);
  }
}

}  // namespace t2::T2_ISA
