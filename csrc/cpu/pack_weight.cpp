// Packs weights for linear, a panel a task: the layouts are those of
// t2engine/ops/_packed_weight.py.
#include <algorithm>
#include <memory>
#include <type_traits>

#include "gemm_int8.h"
#include "ops.h"

namespace t2::T2_ISA {
namespace {

constexpr int64_t kBlock = 16;  // values of k that are transposed at once

inline void narrow(float x, float& to) { to = x; }
inline void narrow(float x, Bfloat16& to) { to = to_bfloat16(x); }
inline void narrow(float x, Float16& to) { to = to_float16(x); }

inline float widen(float x) { return x; }
inline float widen(Bfloat16 x) { return to_float(x); }
inline float widen(Float16 x) { return to_float(x); }

// A panel [depth, 16] of `rows` rows [depth] of the weight, the other columns zero.
template <typename To, typename From>
void pack_panel(To* panel, const From* weight, int64_t rows, int64_t depth) {
  float block[kPanel][kBlock] = {};
  for (int64_t k = 0; k < depth; k += kBlock) {
    const int64_t count = std::min(kBlock, depth - k);
    for (int64_t n = 0; n < rows; ++n) {
      for (int64_t i = 0; i < count; ++i) block[n][i] = widen(weight[n * depth + k + i]);
    }
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t n = 0; n < kPanel; ++n) narrow(block[n][i], panel[(k + i) * kPanel + n]);
    }
  }
}

// A panel [ceil(depth / 4), 16, 4] of codes, and the scale of each of its columns.
template <typename From>
void pack_codes(int8_t* panel, float* scales, const From* weight, int64_t rows, int64_t depth) {
  const int64_t padded = (depth + kLanes - 1) / kLanes * kLanes;
  const std::unique_ptr<float[]> row(new float[depth]);
  const std::unique_ptr<int8_t[]> codes(new int8_t[kPanel * padded]());
  for (int64_t n = 0; n < kPanel; ++n) {
    scales[n] = 0;
    if (n >= rows) continue;
    for (int64_t k = 0; k < depth; ++k) row[k] = widen(weight[n * depth + k]);
    scales[n] = quantize(row.get(), depth, [&](int64_t k, Lanes values) {
      float lanes[kLanes];
      store_lanes(lanes, values);
      for (int i = 0; i < kLanes; ++i) codes[n * padded + k + i] = static_cast<int8_t>(lanes[i]);
    });
  }
  for (int64_t k = 0; k < depth; k += 4) {
    for (int64_t n = 0; n < kPanel; ++n, panel += 4) {
      std::copy_n(codes.get() + n * padded + k, 4, panel);
    }
  }
}

template <typename To, typename From>
void pack(const Stored<3>& panels, float* scales, const Stored<2>& weight, int num_threads) {
  const int64_t rows = weight.size(0), depth = weight.size(1);
  const int64_t panel_size = panels.size(1) * panels.size(2);
  parallel_for(num_threads, panels.size(0), [&](int64_t i) {
    const From* from = static_cast<const From*>(weight.data) + i * kPanel * depth;
    To* to = static_cast<To*>(panels.data) + i * panel_size;
    const int64_t here = std::min<int64_t>(kPanel, rows - i * kPanel);
    if constexpr (std::is_same_v<To, int8_t>) {
      pack_codes(to, scales + i * kPanel, from, here, depth);
    } else {
      pack_panel(to, from, here, depth);
    }
  });
}

template <typename To>
void pack_from(const Stored<3>& panels, float* scales, const Stored<2>& weight, int num_threads) {
  switch (weight.dtype) {
    case Dtype::kFloat32:
      return pack<To, float>(panels, scales, weight, num_threads);
    case Dtype::kBfloat16:
      return pack<To, Bfloat16>(panels, scales, weight, num_threads);
    case Dtype::kFloat16:
      return pack<To, Float16>(panels, scales, weight, num_threads);
    case Dtype::kInt8:
      return;  // the binding refuses it
  }
}

}  // namespace

void pack_weight(Stored<3> panels, std::optional<Tensor<float, 1>> scales, Stored<2> weight,
                 int num_threads) {
  switch (panels.dtype) {
    case Dtype::kFloat32:
      return pack_from<float>(panels, nullptr, weight, num_threads);
    case Dtype::kBfloat16:
      return pack_from<Bfloat16>(panels, nullptr, weight, num_threads);
    case Dtype::kFloat16:
      return pack_from<Float16>(panels, nullptr, weight, num_threads);
    case Dtype::kInt8:
      return pack_from<int8_t>(panels, scales->data, weight, num_threads);
  }
}

}  // namespace t2::T2_ISA
