// C++ backend of t2engine/ops/shared_prefix_attention.py: a tree of one level.
#include <algorithm>
#include <vector>

#include "ops.h"

namespace t2::T2_ISA {
namespace {

template <int Rank>
VectorStore<Rank> as_store(Tensor<const float, Rank> tensor) {
  VectorStore<Rank> store;
  store.data.data = const_cast<float*>(tensor.data);  // is read only
  std::copy_n(tensor.sizes, Rank, store.data.sizes);
  return store;
}

}  // namespace

void shared_prefix_attention(Tensor<float, 3> out, Tensor<const float, 3> q,
                             Tensor<const float, 3> prefix_k, Tensor<const float, 3> prefix_v,
                             Tensor<const int64_t, 2> prefix_bounds,
                             Tensor<const int64_t, 1> row_bounds, Tensor<const float, 4> suffix_k,
                             Tensor<const float, 4> suffix_v, Tensor<const int64_t, 1> row_slot,
                             Tensor<const int64_t, 1> suffix_len, float scale, int num_threads) {
  std::vector<int64_t> rows;  // the first, and the one after the last, of every prompt
  for (int64_t g = 0; g < prefix_bounds.size(0); ++g) {
    rows.insert(rows.end(), {row_bounds.data[g], row_bounds.data[g + 1]});
  }
  tree_attention(out, q, as_store(prefix_k), as_store(prefix_v), prefix_bounds,
                 {rows.data(), {prefix_bounds.size(0), 2}}, as_store(suffix_k), as_store(suffix_v),
                 row_slot, suffix_len, scale, num_threads);
}

}  // namespace t2::T2_ISA
