// Keys and values as they are stored: read a block at a time as float32, written a vector at a
// time. What a vector is worth depends on that vector alone.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "ops.h"

namespace t2::T2_ISA {

// As many as a register has, or the `count` that are left and 0 after them.
template <typename T>
inline Floats load_up_to(const T* from, int64_t count) {
  if (count >= kWidth) return load(from);
  T lanes[kWidth] = {};
  std::copy_n(from, std::max<int64_t>(count, 0), lanes);
  return load(lanes);
}
inline void store_up_to(float* to, int64_t count, Floats x) {
  if (count >= kWidth) return store(to, x);
  float lanes[kWidth];
  store(lanes, x);
  std::copy_n(lanes, count, to);
}

inline int64_t size_of(Dtype dtype) {
  return dtype == Dtype::kFloat32 ? 4 : dtype == Dtype::kInt8 ? 1 : 2;
}

// Calls body with a pointer of the type that `data` is stored in.
template <typename Body>
inline void as_stored(const void* data, Dtype dtype, Body&& body) {
  switch (dtype) {
    case Dtype::kFloat32:
      return body(static_cast<const float*>(data));
    case Dtype::kBfloat16:
      return body(static_cast<const Bfloat16*>(data));
    case Dtype::kFloat16:
      return body(static_cast<const Float16*>(data));
    case Dtype::kInt8:
      return body(static_cast<const int8_t*>(data));
  }
}

// Vectors [count, head_dim] as float32 rows of `width`, 0 past head_dim.
template <typename T>
inline void widen_vectors(const T* from, const float* scales, int64_t count, int64_t head_dim,
                          int64_t width, float* to) {
  const int64_t whole = head_dim / kWidth * kWidth;
  for (int64_t i = 0; i < count; ++i, from += head_dim, to += width) {
    const Floats scale = broadcast(scales != nullptr ? scales[i] : 1.0f);
    for (int64_t d = 0; d < whole; d += kWidth) store(to + d, mul(load(from + d), scale));
    for (int64_t d = whole; d < width; d += kWidth) {
      store_up_to(to + d, width - d, mul(load_up_to(from + d, head_dim - d), scale));
    }
  }
}

// The vectors of a store from one on, each of head_dim elements.
struct Vectors {
  const char* data;
  const float* scales;  // null where there are none
  Dtype dtype;
  int64_t head_dim;

  template <int Rank>
  Vectors(const VectorStore<Rank>& store, int64_t first)
      : data(static_cast<const char*>(store.data.data)),
        scales(store.scales),
        dtype(store.data.dtype),
        head_dim(store.data.size(Rank - 1)) {
    *this = from(first);
  }

  Vectors from(int64_t vector) const {
    Vectors rest = *this;
    rest.data += vector * head_dim * size_of(dtype);
    if (scales != nullptr) rest.scales += vector;
    return rest;
  }
  const float* address() const { return reinterpret_cast<const float*>(data); }  // to be fetched
  bool in_place(int64_t width) const { return dtype == Dtype::kFloat32 && width == head_dim; }

  // The first `count` vectors as float32 rows of `width`, 0 past head_dim: where they are if they
  // are stored like this, else in `copy` [count, width].
  const float* widen(int64_t count, int64_t width, float* copy) const {
    if (in_place(width)) return address();
    as_stored(data, dtype, [&](const auto* stored) {
      widen_vectors(stored, scales, count, head_dim, width, copy);
    });
    return copy;
  }
};

// Codes of a vector, and returns the scale that they are worth: the largest becomes 127. A vector
// whose scale would not be a normal number is 0, one with a nan or infinity in it is nan.
inline float quantize(const float* from, int64_t count, int8_t* codes) {
  Lanes highest = broadcast_lanes(0.0f);
  bool finite = true;
  for (int64_t d = 0; d < count; d += kLanes) {
    const Lanes x = load_rest(from + d, count - d, 0.0f);
    highest = max(highest, max(x, sub(broadcast_lanes(0.0f), x)));
  }
  for (int64_t d = 0; d < count; ++d)
    finite &= std::abs(from[d]) <= std::numeric_limits<float>::max();
  const float largest = reduce_max(highest), scale = largest / 127;
  if (!finite || scale < std::numeric_limits<float>::min()) {
    std::fill_n(codes, count, int8_t{0});
    return finite ? 0.0f : std::numeric_limits<float>::quiet_NaN();
  }
  const Lanes inverse = broadcast_lanes(127 / largest);
  for (int64_t d = 0; d < count; d += kLanes) {
    Lanes x = mul(load_rest(from + d, count - d, 0.0f), inverse);
    for (Floats& part : x.part) part = round(part);
    float whole[kLanes];
    store_lanes(whole, x);
    const int64_t some = std::min<int64_t>(kLanes, count - d);
    for (int64_t i = 0; i < some; ++i) codes[d + i] = static_cast<int8_t>(whole[i]);
  }
  return scale;
}

// Stores one vector [head_dim] at vector `at` (of the flattened leading dimensions) of the store,
// which is float32, bfloat16 or int8.
template <int Rank>
inline void store_vector(const VectorStore<Rank>& store, int64_t at, const float* from) {
  const int64_t head_dim = store.data.size(Rank - 1), first = at * head_dim;
  switch (store.data.dtype) {
    case Dtype::kFloat32:
      std::copy_n(from, head_dim, static_cast<float*>(store.data.data) + first);
      break;
    case Dtype::kBfloat16:
      std::transform(from, from + head_dim, static_cast<Bfloat16*>(store.data.data) + first,
                     to_bfloat16);
      break;
    case Dtype::kInt8:
      store.scales[at] = quantize(from, head_dim, static_cast<int8_t*>(store.data.data) + first);
      break;
    case Dtype::kFloat16:
      throw std::invalid_argument("vectors are not stored as float16");
  }
}

}  // namespace t2::T2_ISA
