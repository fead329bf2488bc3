// C++ backend of t2engine/ops/merge_states.py.
#include <algorithm>
#include <cmath>
#include <limits>

#include "ops.h"

namespace t2::T2_ISA {

void merge_states(Tensor<float, 3> out, Tensor<float, 2> lse, Tensor<const float, 3> out_a,
                  Tensor<const float, 2> lse_a, Tensor<const float, 3> out_b,
                  Tensor<const float, 2> lse_b, int num_threads) {
  const int64_t rows = out.rows(), head_dim = out.size(2);
  constexpr int64_t kRowsPerTask = 256;
  const int64_t tasks = (rows + kRowsPerTask - 1) / kRowsPerTask;
  parallel_for(num_threads, tasks, [&](int64_t task) {
    const int64_t stop = std::min(rows, (task + 1) * kRowsPerTask);
    for (int64_t row = task * kRowsPerTask; row < stop; ++row) {
      // Both sets empty: the finite floor keeps -inf - -inf (nan) from appearing.
      const float top = std::max(
          {lse_a.data[row], lse_b.data[row], std::numeric_limits<float>::lowest()});
      const float mass_a = std::exp(lse_a.data[row] - top);
      const float mass_b = std::exp(lse_b.data[row] - top);
      const float mass = mass_a + mass_b;
      const float weight_a = mass > 0 ? mass_a / mass : 0.0f;
      const float weight_b = mass > 0 ? mass_b / mass : 0.0f;
      lse.data[row] = top + std::log(mass);  // log 0 is -inf: no keys at all
      const int64_t first = row * head_dim;
      for (int64_t d = first; d < first + head_dim; ++d) {
        out.data[d] = weight_a * out_a.data[d] + weight_b * out_b.data[d];
      }
    }
  });
}

}  // namespace t2::T2_ISA
