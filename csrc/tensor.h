// A borrowed view of dense, row-major memory: pointer and sizes. Owns nothing, checks nothing.
#pragma once

#include <cstdint>

namespace t2 {

template <typename T, int Rank>
struct Tensor {
  T* data = nullptr;
  int64_t sizes[Rank] = {};

  int64_t size(int dim) const { return sizes[dim]; }

  int64_t numel() const {
    int64_t count = 1;
    for (int64_t size : sizes) count *= size;
    return count;
  }

  // All dimensions but the last, taken as one.
  int64_t rows() const {
    int64_t count = 1;
    for (int dim = 0; dim + 1 < Rank; ++dim) count *= sizes[dim];
    return count;
  }
};

}  // namespace t2
