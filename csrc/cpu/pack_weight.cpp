// Packs weights for linear: the layouts are those of t2engine/ops/linear.py.
#include <stdexcept>

#include "gemm.h"
#include "ops.h"

namespace t2::T2_ISA {
namespace {

inline Bfloat16 narrow(float x, Bfloat16) { return to_bfloat16(x); }
inline float narrow(float x, float) { return x; }
inline float widen(float x) { return x; }
inline float widen(Bfloat16 x) { return to_float(x); }
inline float widen(Float16 x) { return to_float(x); }

// 16 rows [rows, depth] of the weight, as one panel [depth, 16].
template <typename To, typename From>
void pack_panel(To* panel, const From* weight, int64_t rows, int64_t depth) {
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t n = 0; n < kPanel; ++n) {
      panel[k * kPanel + n] = narrow(n < rows ? widen(weight[n * depth + k]) : 0.0f, To{});
    }
  }
}

template <typename To, typename From>
void pack(const Stored<3>& panels, const Stored<2>& weight, int num_threads) {
  const int64_t rows = weight.size(0), depth = weight.size(1);
  parallel_for(num_threads, panels.size(0), [&](int64_t i) {
    pack_panel(static_cast<To*>(panels.data) + i * kPanel * depth,
               static_cast<const From*>(weight.data) + i * kPanel * depth,
               std::min<int64_t>(kPanel, rows - i * kPanel), depth);
  });
}

template <typename To>
void pack_from(const Stored<3>& panels, const Stored<2>& weight, int num_threads) {
  switch (weight.dtype) {
    case Dtype::kFloat32:
      return pack<To, float>(panels, weight, num_threads);
    case Dtype::kBfloat16:
      return pack<To, Bfloat16>(panels, weight, num_threads);
    case Dtype::kFloat16:
      return pack<To, Float16>(panels, weight, num_threads);
    case Dtype::kInt8:
      break;
  }
}

}  // namespace

void pack_weight(Stored<3> panels, std::optional<Tensor<float, 1>>, Stored<2> weight,
                 int num_threads) {
  switch (panels.dtype) {
    case Dtype::kFloat32:
      return pack_from<float>(panels, weight, num_threads);
    case Dtype::kBfloat16:
      return pack_from<Bfloat16>(panels, weight, num_threads);
    default:
      throw std::invalid_argument("pack_weight: panels of this type are not made yet");
  }
}

}  // namespace t2::T2_ISA
