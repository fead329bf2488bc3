// C++ backend of t2engine/ops/gelu.py.
#include "ops.h"

namespace t2::T2_ISA {
namespace {

// x Phi(x) = max(x, 0) - |x| Phi(-|x|), with Phi(-a) = exp(-a^2 / 2) p((a - K) / (a + K)) / (1 +
// a). The form is that of Shepherd and Laframboise, Math. Comp. 36 (1981), 249; the coefficients of
// p are the minimax fit for a in [0, 14], relative error 4e-8. Past 14 the tail is 0 in float.
Floats gelu_erf(Floats x) {
  constexpr float kCentre = 4.125f;
  constexpr float kCoefficients[] = {1.91149782e-4f,  -6.49263756e-3f, 1.94212794e-2f,
                                     -3.20104994e-2f, 2.61458084e-2f,  1.67466458e-2f,
                                     -9.62299705e-2f, 4.70568895e-1f};
  const Floats centre = broadcast(kCentre);
  const Floats a = max(sub(broadcast(0.0f), x), x);  // |x|
  const Floats u = div(sub(a, centre), add(a, centre));
  Floats p = broadcast(7.15887465e-4f);
#pragma GCC unroll 8
  for (float coefficient : kCoefficients) p = fma(p, u, broadcast(coefficient));
  const Floats gauss = exp(mul(mul(broadcast(-0.5f), a), a));
  const Floats tail = div(mul(p, gauss), add(broadcast(1.0f), a));
  return sub(max(broadcast(0.0f), x), mul(a, tail));
}

// 0.5 (1 + tanh(y)) = 1 / (1 + exp(-2 y)).
Floats gelu_tanh(Floats x) {
  const Floats one = broadcast(1.0f);
  const Floats cubic = fma(mul(x, x), broadcast(0.044715f), one);
  const Floats y = mul(mul(x, cubic), broadcast(-1.59576912f));  // -2 sqrt(2 / pi)
  return div(x, add(one, exp(y)));
}

template <typename Activation>
void apply(Tensor<float, 2> out, Tensor<const float, 2> x, int num_threads, Activation activation) {
  const int64_t width = x.size(1);
  parallel_rows(num_threads, x.size(0), 40 * width, [&](int64_t row) {
    const float* from = x.data + row * width;
    float* to = out.data + row * width;
    for (int64_t i = 0; i < width; i += kLanes) {
      Lanes value = load_rest(from + i, width - i, 0.0f);
      for (Floats& part : value.part) part = activation(part);
      store_rest(to + i, width - i, value);
    }
  });
}

}  // namespace

void gelu(Tensor<float, 2> out, Tensor<const float, 2> x, bool tanh, int num_threads) {
  if (tanh) {
    apply(out, x, num_threads, [](Floats value) { return gelu_tanh(value); });
  } else {
    apply(out, x, num_threads, [](Floats value) { return gelu_erf(value); });
  }
}

}  // namespace t2::T2_ISA
