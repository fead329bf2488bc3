// C++ backend of t2engine/ops/linear.py.
#include "gemm.h"
#include "ops.h"

namespace t2::T2_ISA {

// A task owns a strip of output columns for all rows, so that each weight is read once from memory.
void linear(Tensor<float, 2> out, Tensor<const float, 2> x, Tensor<const float, 3> panels,
            std::optional<Tensor<const float, 1>> bias, int num_threads) {
  const int64_t rows = x.size(0), depth = x.size(1), columns = out.size(1);
  constexpr int64_t kStrip = kTilePanels * kPanel;
  const int64_t strips = (columns + kStrip - 1) / kStrip;
  const int threads = 2 * rows * depth * columns < kFlopsWorthAThread ? 1 : num_threads;
  parallel_for(threads, strips, [&](int64_t strip) {
    const int64_t first = strip * kStrip, width = std::min(kStrip, columns - first);
    const Panels b{panels.data + (first / kPanel) * depth * kPanel, depth * kPanel, kPanel};
    if (bias) {
      for (int64_t row = 0; row < rows; ++row) {
        std::copy_n(bias->data + first, width, out.data + row * columns + first);
      }
    }
    gemm(x.data, depth, rows, b, depth, out.data + first, columns, width, bias.has_value());
  });
}

}  // namespace t2::T2_ISA
