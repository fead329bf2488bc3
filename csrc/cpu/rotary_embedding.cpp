// C++ backend of t2engine/ops/rotary_embedding.py.
#include "ops.h"

namespace t2::T2_ISA {

void rotary_embedding(Tensor<float, 3> out, Tensor<const float, 3> x, Tensor<const float, 2> cos,
                      Tensor<const float, 2> sin, int num_threads) {
  const int64_t heads = x.size(1), head_dim = x.size(2), half = cos.size(1);
  parallel_rows(num_threads, x.size(0), 4 * heads * head_dim, [&](int64_t row) {
    for (int64_t head = 0; head < heads; ++head) {
      const float* from = x.data + (row * heads + head) * head_dim;
      float* to = out.data + (row * heads + head) * head_dim;
      for (int64_t i = 0; i < half; i += kLanes) {
        const int64_t rest = half - i;
        const Lanes low = load_rest(from + i, rest, 0.0f);
        const Lanes high = load_rest(from + half + i, rest, 0.0f);
        const Lanes c = load_rest(cos.data + row * half + i, rest, 0.0f);
        const Lanes s = load_rest(sin.data + row * half + i, rest, 0.0f);
        store_rest(to + i, rest, sub(mul(low, c), mul(high, s)));
        store_rest(to + half + i, rest, add(mul(high, c), mul(low, s)));
      }
      std::copy(from + 2 * half, from + head_dim, to + 2 * half);
    }
  });
}

}  // namespace t2::T2_ISA
