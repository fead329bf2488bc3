#include "product.h"

#include <memory>

#include "float_product.h"
#include "gemm_int8.h"
#include "ops.h"
#include "rows.h"

namespace t2::T2_ISA {
namespace {

constexpr int64_t kFlopsPerTask = 1 << 20;  // tens of microseconds
constexpr int64_t kFewTasks = 16;           // fewer, where there are tiles enough, share out badly
constexpr int64_t kHeldBytes = 1 << 20;     // of the left side, that a core's own cache holds

// out points to the block's first element.
void multiply_block(const Input& x, const Matrix& weight, const Block& block, float* out,
                    int64_t out_stride, bool accumulate) {
  switch (weight.dtype) {
    case Dtype::kFloat32:
      return multiply_floats<float>(x, weight, block, out, out_stride, accumulate);
    case Dtype::kBfloat16:
      return multiply_floats<Bfloat16>(x, weight, block, out, out_stride, accumulate);
    case Dtype::kFloat16:
      return multiply_floats<Float16>(x, weight, block, out, out_stride, accumulate);
    case Dtype::kInt8:
      return gemm_codes(x, block.row, block.rows, weight, block.column, block.columns, out,
                        out_stride, accumulate);
  }
}

// What a product reads of its left side.
int64_t left_bytes(const Input& x, Dtype weight) {
  const int64_t packed = packed_bytes(weight, x.rows, x.depth);
  return packed > 0 ? packed : x.rows * x.depth * int64_t(sizeof(float));
}

// Blocks of rows by strips of columns: a partition by shape alone. A thread's tasks follow each
// other: a strip meets all rows before the next one does, so that weights are read once; but where
// the left side is too large to be held, a block of rows meets all strips.
struct Partition {
  int64_t block_rows, blocks, strip, strips;
  bool rows_first;

  // products_per_column: rows of the weight that make one column of the result.
  Partition(const Input& x, int64_t columns, int64_t products_per_column, Dtype dtype) {
    const int64_t rows = x.rows, flops_per_element = 2 * products_per_column * x.depth;
    const bool codes = dtype == Dtype::kInt8;
    const BlockShape shape = codes ? kVectorBlocks : float_block_shape(dtype);
    const int64_t each = ceil_div(rows, std::max<int64_t>(1, ceil_div(rows, shape.most_rows)));
    block_rows = ceil_div(each, shape.unit) * shape.unit;
    blocks = block_rows == 0 ? 0 : ceil_div(rows, block_rows);
    const int64_t panels = codes ? code_tiling(block_rows).panels : float_panels(dtype, block_rows);
    const int64_t tile = panels * kPanel, tiles = ceil_div(columns, tile);
    const int64_t flops = std::max<int64_t>(1, block_rows * tile * flops_per_element);
    strip = std::max<int64_t>(1, std::min(kFlopsPerTask / flops, tiles / kFewTasks)) * tile;
    strips = ceil_div(columns, strip);
    rows_first = left_bytes(x, dtype) <= kHeldBytes;
  }
  int64_t tasks() const { return blocks * strips; }
  Block block(int64_t task, int64_t rows, int64_t columns) const {
    const int64_t row = (rows_first ? task % blocks : task / strips) * block_rows;
    const int64_t column = (rows_first ? task / blocks : task % strips) * strip;
    return {row, std::min(block_rows, rows - row), column, std::min(strip, columns - column)};
  }
};

}  // namespace

int64_t packed_bytes(Dtype weight, int64_t rows, int64_t depth) {
  if (weight != Dtype::kInt8) return float_packed_bytes(weight, rows, depth);
  return rows * code_width(depth);
}

void pack_row(Dtype weight, const float* x, int64_t row, int64_t depth, void* packed,
              float* scales) {
  if (weight != Dtype::kInt8) return pack_floats(x, row, depth, packed);
  quantize_row(x, depth, static_cast<int8_t*>(packed) + row * code_width(depth), scales + row);
}

void multiply(const Input& x, const Matrix& weight, float* out, int64_t out_stride, bool accumulate,
              int num_threads) {
  const int64_t columns = weight.out_features;
  const Partition partition(x, columns, 1, weight.dtype);
  const int threads = threads_for(2 * x.rows * x.depth * columns, num_threads);
  parallel_for(threads, partition.tasks(), [&](int64_t task) {
    const Block block = partition.block(task, x.rows, columns);
    multiply_block(x, weight, block, out + block.row * out_stride + block.column, out_stride,
                   accumulate);
  });
}

void multiply_gated(const Input& x, const Matrix& weight, float* out, int64_t out_stride,
                    int num_threads) {
  const int64_t columns = weight.out_features / 2;
  const Partition partition(x, columns, 2, weight.dtype);
  const int threads = threads_for(4 * x.rows * x.depth * columns, num_threads);
  parallel_for(threads, partition.tasks(), [&](int64_t task) {
    const Block gate = partition.block(task, x.rows, columns);
    // The up columns begin inside a panel unless there is a multiple of 16 of them.
    const int64_t first = columns + gate.column, skipped = first % kPanel;
    const Block up{gate.row, gate.rows, first - skipped, gate.columns + skipped};
    const int64_t width = gate.columns + up.columns;
    const std::unique_ptr<float[]> both(new float[gate.rows * width]);
    multiply_block(x, weight, gate, both.get(), width, false);
    multiply_block(x, weight, up, both.get() + gate.columns, width, false);
    for (int64_t row = 0; row < gate.rows; ++row) {
      const float* values = both.get() + row * width;
      silu_mul_row(out + (gate.row + row) * out_stride + gate.column, values,
                   values + gate.columns + skipped, gate.columns);
    }
  });
}

}  // namespace t2::T2_ISA
