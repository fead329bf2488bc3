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

// Every prompt has queries, and keys in spans of the store: at least one for each query.
inline void require_prefill(Tensor<const int64_t, 1> query_bounds, Tensor<const int64_t, 2> spans,
                            Tensor<const int64_t, 1> span_bounds, int64_t num_queries,
                            int64_t num_columns) {
  require_bounds(query_bounds, num_queries,
                 "prefill_attention: query_bounds must rise from 0 to the number of queries");
  require_bounds(span_bounds, spans.size(0),
                 "prefill_attention: span_bounds must rise from 0 to the number of spans");
  require_spans(spans, num_columns, "prefill_attention: spans must lie inside the key store");
  require(span_bounds.size(0) == query_bounds.size(0),
          "prefill_attention: span_bounds must have as many prompts as query_bounds");
  for (int64_t g = 0; g + 1 < span_bounds.size(0); ++g) {
    int64_t num_keys = 0;
    for (int64_t i = span_bounds.data[g]; i < span_bounds.data[g + 1]; ++i) {
      require(num_keys % 128 == 0,
              "prefill_attention: spans must have a multiple of 128 columns, but a prompt's last");
      num_keys += spans.data[2 * i + 1] - spans.data[2 * i];
    }
    require(num_keys >= query_bounds.data[g + 1] - query_bounds.data[g],
            "prefill_attention: spans must give every prompt at least as many keys as "
            "query_bounds gives it queries");
  }
}

// Every segment's columns lie in the prefix store and its rows in the batch.
inline void require_segments(Tensor<const int64_t, 2> columns, Tensor<const int64_t, 2> rows,
                             int64_t num_rows, int64_t num_columns) {
  require(columns.size(0) == rows.size(0) && columns.size(1) == 2 && rows.size(1) == 2,
          "tree_attention: segment_columns and segment_rows must be [segments, 2]");
  require_spans(columns, num_columns,
                "tree_attention: segment_columns must lie inside the prefix store");
  require_spans(rows, num_rows, "tree_attention: segment_rows must be rows of q");
}

}  // namespace t2
