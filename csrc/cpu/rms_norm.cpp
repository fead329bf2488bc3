// C++ backend of t2engine/ops/rms_norm.py.
#include <cmath>

#include "ops.h"

namespace t2::T2_ISA {

void rms_norm(Tensor<float, 2> out, Tensor<const float, 2> x, Tensor<const float, 1> weight,
              float eps, int num_threads) {
  const int64_t width = x.size(1);
  parallel_rows(num_threads, x.size(0), 4 * width, [&](int64_t row) {
    const float* from = x.data + row * width;
    float* to = out.data + row * width;
    Lanes squares = broadcast_lanes(0.0f);
    for (int64_t i = 0; i < width; i += kLanes) {
      const Lanes value = load_rest(from + i, width - i, 0.0f);
      squares = fma(value, value, squares);
    }
    const float mean = reduce_add(squares) / static_cast<float>(width);
    const Lanes scale = broadcast_lanes(1.0f / std::sqrt(mean + eps));
    for (int64_t i = 0; i < width; i += kLanes) {
      const Lanes value = mul(load_rest(from + i, width - i, 0.0f), scale);
      store_rest(to + i, width - i, mul(value, load_rest(weight.data + i, width - i, 0.0f)));
    }
  });
}

}  // namespace t2::T2_ISA
