// Products with weights in 16 bits, in the matrix unit; float32 stays in vector registers, where it
// has the bits of every other set. Both sides are split into parts (parts.h), x into three and the
// weight into as many as its values have, one of bfloat16 and two of float16, and an element is the
// sum of the parts' products but for x2 w1, which is below 2^-21 of the whole:
//
//     x w = x2 w0 + x1 w0 + x1 w1 + x0 w1 + x0 w0
//
// in this order for each 32 values of the depth, after those before them; bfloat16 has no w1. So an
// element's bits depend on its row of x and its column of W alone.
//
// Rows of x are packed to [ceil(rows / 16), ceil(depth / 32), 3 parts, 16, 32] of bfloat16; places
// past the last row hold anything, and what becomes of them is not read. A panel's parts are made
// one step of 32 ahead of where they are multiplied, between the products, and what is made into
// parts soon is fetched meanwhile.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "../amx/tiles.h"
#include "parts.h"
#include "product.h"
#include "tiling.h"
#include "vector_product.h"
#include "vector_store.h"

namespace t2::T2_ISA {

constexpr int64_t kStepDepth = 32;  // values of the depth that the unit takes at once
constexpr int64_t kStepPairs = kStepDepth / 2;
constexpr int64_t kLeftBytes = kFloatParts * kTileBytes;  // of 16 rows in a step
constexpr int kSumTiles = 4;                              // registers of sums
constexpr int64_t kFetchAheadBytes = 2048;                // of a panel

inline int64_t steps_of(int64_t depth) { return ceil_div(depth, kStepDepth); }
inline int64_t row_tiles_of(int64_t rows) { return ceil_div(rows, kTileHeight); }
inline int64_t panels_beside(int64_t rows) {
  return kSumTiles / std::clamp<int64_t>(row_tiles_of(rows), 1, kSumTiles);
}

inline BlockShape float_block_shape(Dtype weight) {
  return weight == Dtype::kFloat32 ? kVectorBlocks
                                   : BlockShape{kSumTiles * kTileHeight, kTileHeight};
}
inline int64_t float_panels(Dtype weight, int64_t rows) {
  return weight == Dtype::kFloat32 ? float_tiling(rows).panels : panels_beside(rows);
}
inline int64_t float_packed_bytes(Dtype weight, int64_t rows, int64_t depth) {
  return weight == Dtype::kFloat32 ? 0 : row_tiles_of(rows) * steps_of(depth) * kLeftBytes;
}

inline void pack_floats(const float* x, int64_t row, int64_t depth, void* packed) {
  char* to = static_cast<char*>(packed) + row / kTileHeight * steps_of(depth) * kLeftBytes +
             row % kTileHeight * 64;
  for (int64_t k = 0; k < depth; k += kStepDepth, to += kLeftBytes) {
    store_parts(load_up_to(x + k, depth - k), load_up_to(x + k + kWidth, depth - k - kWidth), to,
                kTileBytes);
  }
}

// Which parts meet, x's and the weight's, in the order of their sum.
struct Meeting {
  int left, right;
};
constexpr Meeting kMeetings[] = {{2, 0}, {1, 0}, {1, 1}, {0, 1}, {0, 0}};
constexpr int kAllMeetings = std::size(kMeetings);

// Of the first `end` meetings, those of a weight of so many parts.
constexpr int meetings_before(int end, int weight_parts) {
  int count = 0;
  for (int i = 0; i < end; ++i) count += kMeetings[i].right < weight_parts;
  return count;
}

// x's part in the meeting before this one, -1 before the first.
constexpr int left_before(int index, int weight_parts) {
  while (--index >= 0) {
    if (kMeetings[index].right < weight_parts) return kMeetings[index].left;
  }
  return -1;
}

// Sums of 16 RowTiles rows by 16 Panels columns, in registers over the whole depth.
template <typename Weight, int RowTiles, int Panels>
class PartsTile {
 public:
  static constexpr int kParts = kWeightParts<Weight>;
  static constexpr int64_t kRightBytes = Panels * kParts * kTileBytes;  // of a step

  PartsTile(const char* left, const Weight* panels, int64_t depth, char* right)
      : left_(left), panels_(panels), depth_(depth), right_(right) {}

  // sums: [RowTiles, Panels, 16, 16]. right: room for two steps.
  void run(float* sums) const {
    each<RowTiles * Panels>([](auto sum) { zero_tile<sum>(); });
    prepare(0);
    const int64_t steps = steps_of(depth_), whole = depth_ / kStepDepth;
    for (int64_t step = 0; step < steps; ++step) {
      if (step + 1 < whole) {
        multiply_step<true>(step);
      } else {
        if (step + 1 < steps) prepare(step + 1);
        multiply_step<false>(step);
      }
    }
    each<RowTiles * Panels>([&](auto sum) { store_tile<sum>(sums + sum * kTileHeight * kPanel); });
  }

 private:
  static constexpr int kLeft = 4, kRight = 5;  // the first registers after those of sums
  static constexpr int kMeetingsEach = meetings_before(kAllMeetings, kParts);
  static constexpr int kProducts = RowTiles * Panels * kMeetingsEach;  // of a step
  static constexpr int kPairs = Panels * kStepPairs;
  static constexpr int kPanelLines = kStepDepth * kPanel * sizeof(Weight) / 64;
  static constexpr int kStepLines = Panels * kPanelLines;

  // Where a step's parts are made, and of what.
  struct Next {
    const Weight* rows;
    int64_t panel_size;
    char* right;
  };

  template <int kCount, typename Body>
  static void each(Body&& body) {
    each(std::make_integer_sequence<int, kCount>(), body);
  }
  template <int... kIndices, typename Body>
  static void each(std::integer_sequence<int, kIndices...>, Body&& body) {
    (body(std::integral_constant<int, kIndices>()), ...);
  }

  char* right_of(int64_t step) const { return right_ + step % 2 * kRightBytes; }
  const Weight* rows_of(int64_t step, int64_t panel) const {
    return panels_ + (panel * depth_ + step * kStepDepth) * kPanel;
  }

  // A step's parts, all at once; past the depth they are 0.
  void prepare(int64_t step) const {
    for (int64_t panel = 0; panel < Panels; ++panel) {
      for (int64_t pair = 0; pair < kStepPairs; ++pair) {
        const Weight* rows = rows_of(step, panel) + pair * 2 * kPanel;
        const int64_t left = depth_ - step * kStepDepth - pair * 2;
        char* to = place(step, panel, pair);
        left >= 2 ? split_pair(rows, to, kTileBytes) : split_rest(rows, left, to, kTileBytes);
      }
    }
  }
  char* place(int64_t step, int64_t panel, int64_t pair) const {
    return right_of(step) + panel * kParts * kTileBytes + pair * 64;
  }

  template <bool kPrepareNext>
  void multiply_step(int64_t step) const {
    const int64_t left_tile = steps_of(depth_) * kLeftBytes;
    const char* const left = left_ + step * kLeftBytes;
    const char* const right = right_of(step);
    const Next next{rows_of(step + 1, 0), depth_ * kPanel, right_of(step + 1)};
    each<Panels>([&](auto panel) {
      constexpr int kPanelIndex = panel;
      each<kParts>([&](auto part) {
        load_tile<kRight + part>(right + (kPanelIndex * kParts + part) * kTileBytes);
      });
      each<RowTiles>([&](auto tile) {
        constexpr int kSum = tile * Panels + kPanelIndex;
        constexpr int kBefore = (kPanelIndex * RowTiles + tile) * kMeetingsEach;
        multiply_parts<kSum, kBefore, kPrepareNext>(left + tile * left_tile, next);
      });
    });
  }

  // One sum's products of a step, kBefore others having been made in it.
  template <int kSum, int kBefore, bool kPrepareNext>
  static void multiply_parts(const char* left, const Next& next) {
    each<kAllMeetings>([&](auto index) {
      constexpr Meeting kMeeting = kMeetings[index];
      if constexpr (kMeeting.right < kParts) {
        if constexpr (left_before(index, kParts) != kMeeting.left) {
          load_tile<kLeft>(left + kMeeting.left * kTileBytes);
        }
        multiply_tiles<kSum, kLeft, kRight + kMeeting.right>();
        prepare_some<kBefore + meetings_before(index, kParts), kPrepareNext>(next);
      }
    });
  }

  // The share of a step's n-th product in the next step's parts, and in what is fetched.
  template <int kNth, bool kPrepareNext>
  static void prepare_some(const Next& next) {
    if constexpr (kPrepareNext) {
#pragma GCC unroll 16
      for (int i = kNth * kPairs / kProducts; i < (kNth + 1) * kPairs / kProducts; ++i) {
        const int64_t panel = i / kStepPairs, pair = i % kStepPairs;
        split_pair(next.rows + panel * next.panel_size + pair * 2 * kPanel,
                   next.right + panel * kParts * kTileBytes + pair * 64, kTileBytes);
      }
    }
#pragma GCC unroll 16
    for (int i = kNth * kStepLines / kProducts; i < (kNth + 1) * kStepLines / kProducts; ++i) {
      const int64_t panel = i / kPanelLines, line = i % kPanelLines;
      const Weight* rows = next.rows + panel * next.panel_size;
      __builtin_prefetch(reinterpret_cast<const char*>(rows) + kFetchAheadBytes + line * 64, 0, 2);
    }
  }

  const char* left_;
  const Weight* panels_;
  int64_t depth_;
  char* right_;
};

template <typename Weight>
using PartsFunction = void (*)(const char*, const Weight*, int64_t, char*, float*);

template <typename Weight, int RowTiles, int Panels>
void run_parts_tile(const char* left, const Weight* panels, int64_t depth, char* right,
                    float* sums) {
  PartsTile<Weight, RowTiles, Panels>(left, panels, depth, right).run(sums);
}

template <typename Weight, int RowTiles, int... Panels>
constexpr auto parts_tiles_of_height(std::integer_sequence<int, Panels...>) {
  return std::array<PartsFunction<Weight>, kSumTiles>{
      run_parts_tile<Weight, RowTiles, Panels + 1>...};
}
template <typename Weight, int... RowTiles>
constexpr auto parts_tiles_of_every_height(std::integer_sequence<int, RowTiles...>) {
  return std::array{parts_tiles_of_height<Weight, RowTiles + 1>(
      std::make_integer_sequence<int, kSumTiles / (RowTiles + 1)>())...};
}

// out = (accumulate ? out : 0) + (sums + bias), `columns` at most 16 of them.
inline void finish_sums(const float* sums, const float* bias, float* out, int64_t columns,
                        bool accumulate) {
  Lanes value = load_lanes(sums);
  if (bias) value = add(value, load_rest(bias, columns, 0.0f));
  if (accumulate) value = add(load_rest(out, columns, 0.0f), value);
  store_rest(out, columns, value);
}

template <typename Weight>
void multiply_parts(const Input& x, const Matrix& weight, const Block& block, float* out,
                    int64_t out_stride, bool accumulate) {
  static constexpr auto kTiles =
      parts_tiles_of_every_height<Weight>(std::make_integer_sequence<int, kSumTiles>());
  const int64_t depth = weight.in_features;
  const auto* panels = static_cast<const Weight*>(weight.panels) + block.column * depth;
  const char* left =
      static_cast<const char*>(x.packed) + block.row / kTileHeight * steps_of(depth) * kLeftBytes;
  const int64_t row_tiles = row_tiles_of(block.rows), most = panels_beside(block.rows);
  alignas(64) float sums[kSumTiles * kTileHeight * kPanel];
  alignas(64) char right[2 * kSumTiles * kFloatParts * kTileBytes];
  const WholeTiles tiles;
  for (int64_t column = 0; column < block.columns; column += most * kPanel) {
    const int64_t columns = std::min(most * kPanel, block.columns - column);
    const int64_t count = ceil_div(columns, kPanel);
    kTiles[row_tiles - 1][count - 1](left, panels + column * depth, depth, right, sums);
    for (int64_t row = 0; row < block.rows; ++row) {
      for (int64_t panel = 0; panel < count; ++panel) {
        const int64_t n = column + panel * kPanel;
        const int64_t at = (row / kTileHeight * count + panel) * kTileHeight + row % kTileHeight;
        finish_sums(sums + at * kPanel, weight.bias ? weight.bias + block.column + n : nullptr,
                    out + row * out_stride + n, std::min<int64_t>(kPanel, block.columns - n),
                    accumulate);
      }
    }
  }
}

// out points to the block's first element; a block's first row is as float_block_shape says.
template <typename Weight>
void multiply_floats(const Input& x, const Matrix& weight, const Block& block, float* out,
                     int64_t out_stride, bool accumulate) {
  if constexpr (std::is_same_v<Weight, float>) {
    multiply_in_vectors<Weight>(x, weight, block, out, out_stride, accumulate);
  } else {
    multiply_parts<Weight>(x, weight, block, out, out_stride, accumulate);
  }
}

}  // namespace t2::T2_ISA
