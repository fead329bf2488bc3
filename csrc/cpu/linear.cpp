// C++ backend of t2engine/ops/linear.py.
#include "gemm.h"
#include "ops.h"

namespace t2::T2_ISA {
namespace {

constexpr int64_t kBlockRows = 72;      // of x, which stay in the second cache across panels
constexpr int64_t kTasksPerThread = 8;  // so that no thread waits long for the last one

}  // namespace

// A task owns a strip of output columns for a block of rows.
void linear(Tensor<float, 2> out, Tensor<const float, 2> x, Tensor<const float, 3> panels,
            std::optional<Tensor<const float, 1>> bias, int num_threads) {
  const int64_t rows = x.size(0), depth = x.size(1), columns = out.size(1);
  const int threads = threads_for(2 * rows * depth * columns, num_threads);
  const int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
  const int64_t block_rows = blocks == 0 ? 0 : (rows + blocks - 1) / blocks;
  const int64_t tile_columns = Tiling(block_rows).panels * kPanel;
  const int64_t wanted = columns * blocks / (threads * kTasksPerThread);
  const int64_t strip = std::max<int64_t>(1, wanted / tile_columns) * tile_columns;
  const int64_t strips = (columns + strip - 1) / strip;
  parallel_for(threads, strips * blocks, [&](int64_t task) {
    const int64_t column = task / blocks * strip, row = task % blocks * block_rows;
    gemm(x.data + row * depth, std::min(block_rows, rows - row), panels.data + column * depth,
         panels.data + panels.numel(), depth, out.data + row * columns + column, columns,
         std::min(strip, columns - column), bias ? bias->data + column : nullptr);
  });
}

}  // namespace t2::T2_ISA
