// Part of the binding: what must hold for memory access to be safe where indices come from data.
#pragma once

#include <stdexcept>

#include "tensor.h"

namespace t2 {

inline void require(bool holds, const char* message) {
  if (!holds) throw std::invalid_argument(message);
}

// Non-decreasing bounds from 0 to exactly `limit`: what makes slicing rows by them safe.
inline void require_bounds(Tensor<const int64_t, 1> bounds, int64_t limit, const char* message) {
  int64_t before = 0;
  for (int64_t i = 0; i < bounds.size(0); ++i) {
    require(bounds.data[i] >= before, message);
    before = bounds.data[i];
  }
  require(bounds.size(0) > 0 && bounds.data[0] == 0 && before == limit, message);
}

inline void require_spans(Tensor<const int64_t, 2> spans, int64_t limit, const char* message) {
  for (int64_t i = 0; i < spans.size(0); ++i) {
    const int64_t start = spans.data[2 * i], stop = spans.data[2 * i + 1];
    require(0 <= start && start <= stop && stop <= limit, message);
  }
}

inline void require_within(Tensor<const int64_t, 1> values, int64_t limit, const char* message) {
  for (int64_t i = 0; i < values.size(0); ++i) {
    require(0 <= values.data[i] && values.data[i] <= limit, message);
  }
}

// Every segment's columns lie in the prefix store and its rows in the batch.
inline void require_segments(Tensor<const int64_t, 2> columns, Tensor<const int64_t, 2> rows,
                             int64_t num_rows, int64_t num_columns) {
  require(columns.size(0) == rows.size(0) && columns.size(1) == 2 && rows.size(1) == 2,
          "attention: segment_columns and segment_rows must be [segments, 2]");
  require_spans(columns, num_columns,
                "attention: segment_columns must lie inside the prefix store");
  require_spans(rows, num_rows, "attention: segment_rows must lie inside the batch");
}

}  // namespace t2
