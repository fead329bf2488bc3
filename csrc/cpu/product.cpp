#include "product.h"

#include <memory>

#include "gemm.h"
#include "gemm_int8.h"
#include "ops.h"
#include "rows.h"

namespace t2::T2_ISA {
namespace {

constexpr int64_t kBlockRows = 72;          // of x, which stay in the second cache across panels
constexpr int64_t kFlopsPerTask = 1 << 20;  // tens of microseconds
constexpr int64_t kFewTasks = 16;           // fewer, where there are tiles enough, share out badly

// Rows and columns of a product. The first column begins a panel.
struct Block {
  int64_t row, rows, column, columns;
};

template <typename Weight>
void multiply_floats(const Input& x, const Matrix& weight, const Block& block, float* out,
                     int64_t out_stride, bool accumulate) {
  const int64_t depth = weight.in_features;
  const auto* panels = static_cast<const Weight*>(weight.panels);
  const int64_t end = (weight.out_features + kPanel - 1) / kPanel * kPanel * depth;
  gemm(x.values + block.row * depth, block.rows, panels + block.column * depth, panels + end, depth,
       out, out_stride, block.columns, weight.bias ? weight.bias + block.column : nullptr,
       accumulate);
}

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

// Blocks of rows by strips of columns: a partition by shape alone.
struct Partition {
  int64_t block_rows, blocks, strip, strips;

  Partition(int64_t rows, int64_t columns, int64_t flops_per_element, Dtype dtype) {
    blocks = (rows + kBlockRows - 1) / kBlockRows;
    block_rows = blocks == 0 ? 0 : (rows + blocks - 1) / blocks;
    const bool codes = dtype == Dtype::kInt8;
    const Tiling tiling = codes ? code_tiling(block_rows) : float_tiling(block_rows);
    const int64_t tile = tiling.panels * kPanel;
    const int64_t flops = std::max<int64_t>(1, block_rows * tile * flops_per_element);
    const int64_t tiles = (columns + tile - 1) / tile;
    strip = std::max<int64_t>(1, std::min(kFlopsPerTask / flops, tiles / kFewTasks)) * tile;
    strips = (columns + strip - 1) / strip;
  }
  int64_t tasks() const { return blocks * strips; }
  Block block(int64_t task, int64_t rows, int64_t columns) const {
    const int64_t row = task % blocks * block_rows, column = task / blocks * strip;
    return {row, std::min(block_rows, rows - row), column, std::min(strip, columns - column)};
  }
};

}  // namespace

int64_t code_width(int64_t depth) { return codes_of_row(depth) + kStartBytes; }

void quantize_row(const float* x, int64_t depth, int8_t* codes, float* scale) {
  Lanes total = broadcast_lanes(0.0f);  // exact: 127 * 2^17 is below 2^24
  *scale = quantize(x, depth, [&](int64_t k, Lanes values) {
    for (int i = 0; i < kParts; ++i) store_codes(codes, k + i * kWidth, values.part[i]);
    total = add(total, values);
  });
  const int64_t written = (depth + kLanes - 1) / kLanes * kLanes * kCodeBytes;
  std::memset(codes + written, 0, code_width(depth) - written);
  const auto start = static_cast<int32_t>(-kCodeOffset * reduce_add(total));
  std::memcpy(codes + codes_of_row(depth), &start, sizeof start);
}

void multiply(const Input& x, const Matrix& weight, float* out, int64_t out_stride, bool accumulate,
              int num_threads) {
  const int64_t columns = weight.out_features;
  const Partition partition(x.rows, columns, 2 * x.depth, weight.dtype);
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
  const Partition partition(x.rows, columns, 4 * x.depth, weight.dtype);
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
