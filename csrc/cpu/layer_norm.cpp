// C++ backend of t2engine/ops/layer_norm.py.
#include <cmath>

#include "ops.h"

namespace t2::T2_ISA {

void layer_norm(Tensor<float, 2> out, Tensor<const float, 2> x, Tensor<const float, 1> weight,
                Tensor<const float, 1> bias, float eps, int num_threads) {
  const int64_t width = x.size(1);
  parallel_rows(num_threads, x.size(0), 7 * width, [&](int64_t row) {
    const float* from = x.data + row * width;
    float* to = out.data + row * width;
    Lanes sum = broadcast_lanes(0.0f);
    for (int64_t i = 0; i < width; i += kLanes) {
      sum = add(sum, load_rest(from + i, width - i, 0.0f));
    }
    const float mean = reduce_add(sum) / static_cast<float>(width);
    const Lanes centre = broadcast_lanes(mean);

    // A second pass over the centred row: E[x^2] - E[x]^2 would cancel when the mean is large.
    Lanes squares = broadcast_lanes(0.0f);
    for (int64_t i = 0; i < width; i += kLanes) {
      const Lanes value = sub(load_rest(from + i, width - i, mean), centre);
      squares = fma(value, value, squares);
    }
    const float variance = reduce_add(squares) / static_cast<float>(width);
    const Lanes scale = broadcast_lanes(1.0f / std::sqrt(variance + eps));
    for (int64_t i = 0; i < width; i += kLanes) {
      const int64_t rest = width - i;
      const Lanes value = mul(sub(load_rest(from + i, rest, mean), centre), scale);
      const Lanes scaled = mul(value, load_rest(weight.data + i, rest, 0.0f));
      store_rest(to + i, rest, add(scaled, load_rest(bias.data + i, rest, 0.0f)));
    }
  });
}

}  // namespace t2::T2_ISA
