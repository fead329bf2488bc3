// C++ backend of t2engine/ops/linear.py.
#include <memory>

#include "ops.h"
#include "product.h"

namespace t2::T2_ISA {

void linear(Tensor<float, 2> out, Tensor<const float, 2> x, Stored<3> panels,
            std::optional<Tensor<const float, 1>> scales,
            std::optional<Tensor<const float, 1>> bias, int num_threads) {
  const int64_t rows = x.size(0), depth = x.size(1);
  const Matrix weight{
      panels.dtype, panels.data, scales ? scales->data : nullptr, bias ? bias->data : nullptr,
      out.size(1),  depth};
  if (weight.dtype != Dtype::kInt8) {
    multiply({x.data, rows, depth, nullptr, nullptr}, weight, out.data, out.size(1), false,
             num_threads);
    return;
  }
  const int64_t width = code_width(depth);
  const std::unique_ptr<int8_t[]> codes(new int8_t[rows * width]);
  const std::unique_ptr<float[]> row_scales(new float[rows]);
  parallel_rows(num_threads, rows, 4 * depth, [&](int64_t row) {
    quantize_row(x.data + row * depth, depth, codes.get() + row * width, row_scales.get() + row);
  });
  multiply({x.data, rows, depth, codes.get(), row_scales.get()}, weight, out.data, out.size(1),
           false, num_threads);
}

}  // namespace t2::T2_ISA
