// C++ backend of t2engine/ops/store_vectors.py.
#include "ops.h"
#include "vector_store.h"

namespace t2::T2_ISA {

void store_vectors(VectorStore<2> store, Tensor<const int64_t, 1> at,
                   Tensor<const float, 2> vectors, int num_threads) {
  const int64_t head_dim = vectors.size(1);
  parallel_rows(num_threads, vectors.size(0), 4 * head_dim,
                [&](int64_t i) { store_vector(store, at.data[i], vectors.data + i * head_dim); });
}

}  // namespace t2::T2_ISA
