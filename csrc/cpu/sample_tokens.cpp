// C++ backend of t2engine/ops/sample_tokens.py.
//
// A token's weight is exp((logit - top) / temperature): the top one's is 1, and no sum overflows.
// All three filters keep a head of the order by falling logit, so each is a cut of that order,
// found by bisection over the logits and without a sort. Dropped tokens get weight 0.
#include <cmath>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "ops.h"

namespace t2::T2_ISA {
namespace {

constexpr int64_t kBlock = 256;  // tokens summed in float before a double takes the sum over
constexpr double kFewEnoughToSort = 128;
constexpr float kLowest = std::numeric_limits<float>::lowest();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Row {
  const float* logits;
  float* weights;  // with zeros up to the next multiple of sixteen
  int64_t vocab_size;
  float top;  // the highest logit
};

double sum_of(Lanes x) {
  float lanes[kLanes];
  store_lanes(lanes, x);
  double sum = 0;
  for (float lane : lanes) sum += lane;
  return sum;
}

// The highest logit. Also adds 0 times every logit, which is nan after a nan or +inf, and 0 else.
float find_top(const float* logits, int64_t vocab_size, int64_t row) {
  const Lanes zero = broadcast_lanes(0.0f), lowest = broadcast_lanes(kLowest);
  Lanes top = broadcast_lanes(-kInfinity), taint = zero;
  for (int64_t i = 0; i < vocab_size; i += kLanes) {
    const Lanes x = load_rest(logits + i, vocab_size - i, -kInfinity);
    top = max(top, x);
    taint = fma(max(lowest, x), zero, taint);
  }
  if (std::isnan(reduce_add(taint))) {
    throw std::invalid_argument(
        "sample_tokens: logits must be below infinity, got nan or inf in row " +
        std::to_string(row));
  }
  const float highest = reduce_max(top);
  if (highest == -kInfinity) {
    throw std::invalid_argument("sample_tokens: logits must allow a token, got only -inf in row " +
                                std::to_string(row));
  }
  return highest;
}

void fill_weights(const Row& row, float temperature, float min_p) {
  // The bound keeps 0 * inf (nan) from appearing for the top token.
  const Lanes scale = broadcast_lanes(std::min(1.0f / temperature, -kLowest));
  const Lanes top = broadcast_lanes(row.top), least = broadcast_lanes(std::min(min_p, 1.0f));
  for (int64_t i = 0; i < row.vocab_size; i += kLanes) {
    const Lanes x = load_rest(row.logits + i, row.vocab_size - i, -kInfinity);
    const Lanes weight = exp(mul(sub(x, top), scale));
    store_lanes(row.weights + i, where_at_least(weight, least, weight));
  }
}

// How many tokens have a logit of at least `limit`, and what they weigh together.
struct Head {
  float limit;
  double count;
  double mass;
};

Head head_from(const Row& row, float limit) {
  const Lanes at_least = broadcast_lanes(limit), one = broadcast_lanes(1.0f);
  Head head{limit, 0, 0};
  for (int64_t block = 0; block < row.vocab_size; block += kBlock) {
    const int64_t stop = std::min(row.vocab_size, block + kBlock);
    Lanes count = broadcast_lanes(0.0f), mass = count;
    for (int64_t i = block; i < stop; i += kLanes) {
      const Lanes x = load_rest(row.logits + i, row.vocab_size - i, -kInfinity);
      count = add(count, where_at_least(x, at_least, one));
      mass = add(mass, where_at_least(x, at_least, load_lanes(row.weights + i)));
    }
    head.count += sum_of(count);
    head.mass += sum_of(mass);
  }
  return head;
}

// Walks the tokens by falling logit, equal ones by id, and keeps them as long as the measure
// (Head's count or mass) of those before is below `limit`.
void cut(const Row& row, double Head::* measure, double limit, float temperature) {
  limit = std::max(limit, std::numeric_limits<double>::min());  // the first is always kept
  // Below this every weight is 0.
  Head low = head_from(row, std::max(kLowest, row.top - 105.0f * temperature));
  if (low.*measure <= limit) return;

  // The cut lies among the logits in [low, high): halve them until they are few, or all equal.
  Head high{std::nextafter(row.top, kInfinity), 0, 0};
  while (low.count - high.count > kFewEnoughToSort) {
    const float middle = 0.5f * low.limit + 0.5f * high.limit;
    if (!(low.limit < middle && middle < high.limit)) break;
    const Head head = head_from(row, middle);
    (head.*measure >= limit ? low : high) = head;
  }

  std::vector<int64_t> between;
  for (int64_t i = 0; i < row.vocab_size; ++i) {
    if (row.logits[i] < low.limit) {
      row.weights[i] = 0;
    } else if (row.logits[i] < high.limit) {
      between.push_back(i);
    }
  }
  std::stable_sort(between.begin(), between.end(),
                   [&](int64_t a, int64_t b) { return row.logits[a] > row.logits[b]; });
  for (int64_t token : between) {
    if (high.*measure >= limit) {
      row.weights[token] = 0;
    } else {
      high.count += 1;
      high.mass += row.weights[token];
    }
  }
}

// The sums of the weights' blocks.
std::vector<double> block_sums(const Row& row) {
  std::vector<double> sums;
  for (int64_t block = 0; block < row.vocab_size; block += kBlock) {
    const int64_t stop = std::min(row.vocab_size, block + kBlock);
    Lanes sum = broadcast_lanes(0.0f);
    for (int64_t i = block; i < stop; i += kLanes) sum = add(sum, load_lanes(row.weights + i));
    sums.push_back(sum_of(sum));
  }
  return sums;
}

// The first token whose cumulative weight exceeds target. Rounding may leave its block's running
// sum a little short of the block's sum; then it is the last token of the block with a weight.
int64_t find_token(const Row& row, const std::vector<double>& sums, double target) {
  double before = 0;
  size_t block = 0;
  for (size_t i = 0; i < sums.size(); ++i) {
    if (sums[i] == 0) continue;
    block = i;
    if (before + sums[i] > target) break;
    before += sums[i];
  }
  int64_t token = static_cast<int64_t>(block) * kBlock;
  const int64_t stop = std::min(row.vocab_size, token + kBlock);
  for (int64_t i = token; i < stop; ++i) {
    if (row.weights[i] == 0) continue;
    token = i;
    before += row.weights[i];
    if (before > target) break;
  }
  return token;
}

double total_of(const std::vector<double>& sums) {
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}

}  // namespace

void sample_tokens(Tensor<int64_t, 1> token, Tensor<float, 1> logprob,
                   Tensor<const float, 2> logits, Tensor<const float, 1> temperature,
                   Tensor<const int64_t, 1> top_k, Tensor<const float, 1> top_p,
                   Tensor<const float, 1> min_p, Tensor<const double, 1> uniform, int num_threads) {
  const int64_t vocab_size = logits.size(1), padded = (vocab_size + kLanes - 1) / kLanes * kLanes;
  parallel_rows(num_threads, logits.size(0), 30 * vocab_size, [&](int64_t r) {
    const float* from = logits.data + r * vocab_size;
    const float top = find_top(from, vocab_size, r), heat = temperature.data[r];
    if (!(heat >= 0 && heat < kInfinity)) {
      throw std::invalid_argument("sample_tokens: temperature must be at least 0, got " +
                                  std::to_string(heat) + " in row " + std::to_string(r));
    }
    if (heat == 0) {
      token.data[r] = std::find(from, from + vocab_size, top) - from;
      logprob.data[r] = 0;
      return;
    }
    const std::unique_ptr<float[]> weights(new float[padded]);
    const Row row{from, weights.get(), vocab_size, top};
    fill_weights(row, heat, min_p.data[r]);
    if (0 < top_k.data[r] && top_k.data[r] < vocab_size) {
      cut(row, &Head::count, static_cast<double>(top_k.data[r]), heat);
    }
    if (top_p.data[r] < 1) {
      cut(row, &Head::mass, top_p.data[r] * total_of(block_sums(row)), heat);
    }
    const std::vector<double> sums = block_sums(row);
    const double total = total_of(sums);
    token.data[r] = find_token(row, sums, uniform.data[r] * total);
    logprob.data[r] = static_cast<float>(std::log(row.weights[token.data[r]] / total));
  });
}

}  // namespace t2::T2_ISA
