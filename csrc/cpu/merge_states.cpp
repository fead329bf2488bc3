// C++ backend of t2engine/ops/merge_states.py.
#include <algorithm>
#include <cmath>
#include <limits>

#include "ops.h"

namespace t2::T2_ISA {

void merge_states(Tensor<float, 3> out, Tensor<float, 2> lse, Tensor<const float, 3> out_a,
                  Tensor<const float, 2> lse_a, Tensor<const float, 3> out_b,
                  Tensor<const float, 2> lse_b, int num_threads) {
  const int64_t head_dim = out.size(2);
  parallel_rows(num_threads, out.rows(), 4 * head_dim + 40, [&](int64_t row) {
    // Both sets empty: the finite floor keeps -inf - -inf (nan) from appearing.
    const float top =
        std::max({lse_a.data[row], lse_b.data[row], std::numeric_limits<float>::lowest()});
    const float mass_a = std::exp(lse_a.data[row] - top);
    const float mass_b = std::exp(lse_b.data[row] - top);
    const float mass = mass_a + mass_b;
    lse.data[row] = top + std::log(mass);  // log 0 is -inf: no keys at all
    const Lanes weight_a = broadcast_lanes(mass == 0 ? 0.0f : mass_a / mass);
    const Lanes weight_b = broadcast_lanes(mass == 0 ? 0.0f : mass_b / mass);
    for (int64_t d = 0; d < head_dim; d += kLanes) {
      const int64_t at = row * head_dim + d, rest = head_dim - d;
      const Lanes a = load_rest(out_a.data + at, rest, 0.0f);
      const Lanes b = load_rest(out_b.data + at, rest, 0.0f);
      store_rest(out.data + at, rest, fma(weight_b, b, mul(weight_a, a)));
    }
  });
}

}  // namespace t2::T2_ISA
