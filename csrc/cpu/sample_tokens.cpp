// C++ backend of t2engine/ops/sample_tokens.py.
//
// A token's weight is exp((logit - top) / temperature): the top one's is 1, and no sum overflows.
// All three filters keep a head of the order by falling logit, so each is a cut of that order,
// found by bisection over the logits and without a sort. Dropped tokens get weight 0.
#include <algorithm>
#include <cmath>
#include <functional>
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
  float temperature;
  std::vector<float> block_top;  // the highest logit of each block
  float top;                     // the highest of all
  float floor;                   // below it every weight is 0
};

// In double, and in one order on every machine: four columns of lanes, then the four.
double sum_of(Lanes x) {
  float lanes[kLanes];
  store_lanes(lanes, x);
  double columns[4] = {};
  for (int i = 0; i < kLanes; ++i) columns[i % 4] += lanes[i];
  return (columns[0] + columns[1]) + (columns[2] + columns[3]);
}

// Calls body(i, stop) for the blocks that hold a logit of at least `limit`.
template <typename Body>
void for_each_block(const Row& row, float limit, Body body) {
  for (size_t block = 0; block < row.block_top.size(); ++block) {
    if (row.block_top[block] < limit) continue;
    const int64_t start = static_cast<int64_t>(block) * kBlock;
    body(start, std::min(row.vocab_size, start + kBlock));
  }
}

// Fills top, block_top and floor. A row with a logit of nan or +inf, or none above -inf, has no
// distribution. Adding 0 times every logit gives nan after a nan or +inf, and 0 otherwise.
void find_top(Row& row, int64_t number) {
  const Lanes zero = broadcast_lanes(0.0f), lowest = broadcast_lanes(kLowest);
  Lanes taint = zero;
  for (int64_t block = 0; block < row.vocab_size; block += kBlock) {
    const int64_t stop = std::min(row.vocab_size, block + kBlock);
    Lanes top = broadcast_lanes(-kInfinity);
    for (int64_t i = block; i < stop; i += kLanes) {
      const Lanes x = load_rest(row.logits + i, stop - i, -kInfinity);
      top = max(top, x);
      taint = fma(max(lowest, x), zero, taint);
    }
    row.block_top.push_back(reduce_max(top));
  }
  row.top = *std::max_element(row.block_top.begin(), row.block_top.end());
  row.floor = std::max(kLowest, row.top - 105.0f * row.temperature);  // exp(-105) is 0
  const bool tainted = std::isnan(reduce_add(taint));
  if (tainted || row.top == -kInfinity) {
    throw std::invalid_argument(
        std::string("sample_tokens: logits must be finite for a token, and -inf for others, got ") +
        (tainted ? "nan or inf" : "only -inf") + " in row " + std::to_string(number));
  }
}

void fill_weights(const Row& row, float min_p) {
  // The bound keeps 0 * inf (nan) from appearing for the top token.
  const Lanes scale = broadcast_lanes(std::min(1.0f / row.temperature, -kLowest));
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
  Lanes count = broadcast_lanes(0.0f);  // exact: a lane counts far less than 2^24 tokens
  for_each_block(row, limit, [&](int64_t start, int64_t stop) {
    Lanes mass = broadcast_lanes(0.0f);
    for (int64_t i = start; i < stop; i += kLanes) {
      const Lanes x = load_rest(row.logits + i, stop - i, -kInfinity);
      count = add(count, where_at_least(x, at_least, one));
      mass = add(mass, where_at_least(x, at_least, load_lanes(row.weights + i)));
    }
    head.mass += sum_of(mass);
  });
  head.count = sum_of(count);
  return head;
}

// Zeroes the weights of logits below head.limit, and raises the floor to it.
void drop_below(Row& row, const Head& head) {
  const Lanes at_least = broadcast_lanes(head.limit);
  for (int64_t i = 0; i < row.vocab_size; i += kLanes) {
    const Lanes x = load_rest(row.logits + i, row.vocab_size - i, -kInfinity);
    store_lanes(row.weights + i, where_at_least(x, at_least, load_lanes(row.weights + i)));
  }
  row.floor = head.limit;
}

// The tokens with logits in [low, high), by falling logit, equal ones by id.
std::vector<int64_t> sorted_between(const Row& row, const Head& low, const Head& high) {
  std::vector<int64_t> tokens(static_cast<size_t>(low.count - high.count) + 1);
  int64_t found = 0;
  for_each_block(row, low.limit, [&](int64_t start, int64_t stop) {
    for (int64_t i = start; i < stop; ++i) {
      tokens[found] = i;  // with no branch to mispredict; hence the one spare place
      found += (row.logits[i] >= low.limit) & (row.logits[i] < high.limit);
    }
  });
  tokens.pop_back();
  std::stable_sort(tokens.begin(), tokens.end(),
                   [&](int64_t a, int64_t b) { return row.logits[a] > row.logits[b]; });
  return tokens;
}

// Walks the tokens by falling logit, equal ones by id, and keeps them as long as the measure
// (Head's count or mass) of those before is below `limit`. `guess` is a logit that the cut is
// believed not to lie below; a bad one costs time, no more.
void cut(Row& row, double Head::* measure, double limit, float guess) {
  Head low = head_from(row, std::max(row.floor, guess));
  if (low.*measure < limit) low = head_from(row, row.floor);
  if (low.*measure < limit) return;

  // The cut lies among the logits in [low, high): halve them until they are few, or all equal.
  Head high{std::nextafter(row.top, kInfinity), 0, 0};
  while (low.count - high.count > kFewEnoughToSort) {
    const float middle = 0.5f * low.limit + 0.5f * high.limit;
    if (!(low.limit < middle && middle < high.limit)) break;
    const Head head = head_from(row, middle);
    (head.*measure >= limit ? low : high) = head;
  }
  drop_below(row, low);
  for (int64_t token : sorted_between(row, low, high)) {
    if (high.*measure >= limit) {
      row.weights[token] = 0;
    } else {
      high.count += 1;
      high.mass += row.weights[token];
    }
  }
}

// Each of the k highest blocks has a token that is at least as high as the lowest block's top.
void keep_top_k(Row& row, int64_t k) {
  float guess = row.floor;
  if (k <= static_cast<int64_t>(row.block_top.size())) {
    std::vector<float> tops = row.block_top;
    std::nth_element(tops.begin(), tops.begin() + (k - 1), tops.end(), std::greater<float>());
    guess = tops[k - 1];
  }
  cut(row, &Head::count, static_cast<double>(k), guess);
}

// The tokens that weigh less than a vocab_size-th of what may be dropped weigh too little together.
void keep_top_p(Row& row, float top_p, double total) {
  const double limit = std::max(top_p * total, std::numeric_limits<double>::min());
  const double least = (total - limit) / static_cast<double>(row.vocab_size);
  cut(row, &Head::mass, limit, row.top + row.temperature * static_cast<float>(std::log(least)));
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
    const float heat = temperature.data[r];
    if (!(heat >= 0 && heat < kInfinity)) {
      throw std::invalid_argument("sample_tokens: temperature must be at least 0, got " +
                                  std::to_string(heat) + " in row " + std::to_string(r));
    }
    const std::unique_ptr<float[]> weights(new float[padded]);
    Row row{logits.data + r * vocab_size, weights.get(), vocab_size, heat, {}, 0, 0};
    find_top(row, r);
    if (heat == 0) {
      token.data[r] = std::find(row.logits, row.logits + vocab_size, row.top) - row.logits;
      logprob.data[r] = 0;
      return;
    }
    fill_weights(row, min_p.data[r]);
    if (0 < top_k.data[r] && top_k.data[r] < vocab_size) keep_top_k(row, top_k.data[r]);
    if (top_p.data[r] < 1) keep_top_p(row, top_p.data[r], total_of(block_sums(row)));
    const std::vector<double> sums = block_sums(row);
    const double total = total_of(sums);
    token.data[r] = find_token(row, sums, uniform.data[r] * total);
    logprob.data[r] = static_cast<float>(std::log(row.weights[token.data[r]] / total));
  });
}

}  // namespace t2::T2_ISA
