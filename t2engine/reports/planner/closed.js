// Approach 1's optimum at formula costs: the root of one falling function, as
// t2engine/plan/closed_form.py. Prices a parameter: 6 of a token, s of a sample, p of the prompts.

const WIDEST_LOG = 600; // bracket of a logarithm before anything overflows

function logAdd(x, y) {
  const larger = Math.max(x, y);
  return larger + Math.log1p(Math.exp(Math.min(x, y) - larger));
}

// Where a falling function crosses 0, to the last bit: bisection cannot miss.
function fallingRoot(falling, low, high) {
  for (;;) {
    const middle = (low + high) / 2;
    if (middle === low || middle === high) {
      return Math.abs(falling(low)) < Math.abs(falling(high)) ? low : high;
    }
    if (falling(middle) > 0) low = middle;
    else high = middle;
  }
}

function closedForm(law, prices, budget, demand) {
  const { A, alpha, B, beta } = law.training, { G, gamma } = law;
  const serve = prices.serve_flops_per_parameter * demand.questions;
  const token = Math.log(prices.train_flops_per_parameter);
  const sample = Math.log(serve * demand.output_tokens), prompt = serve * demand.prompt_tokens;
  const gain = {
    size: (logN) => Math.log(alpha * A) - alpha * logN,
    tokens: (logD) => Math.log(beta * B) - beta * logD,
    samples: (logK) => Math.log(gamma * G) - gamma * logK,
  };
  return budget.total === undefined ? twoBudgets() : oneBudget(Math.log(budget.total));

  function twoBudgets() {
    const train = Math.log(budget.train), inference = Math.log(budget.inference);
    const logTokens = (logN) => train - token - logN;
    const logSamples = (logN) => Math.log(Math.exp(inference - logN) - prompt) - sample;
    function balance(logN) {
      const logK = logSamples(logN), share = prompt * Math.exp(-sample - logK);
      return gain.size(logN) - logAdd(gain.tokens(logTokens(logN)),
        gain.samples(logK) + Math.log1p(share));
    }
    const largest = inference - Math.log(Math.exp(sample) + prompt);
    if (balance(largest) >= 0) {
      return { N: Math.exp(largest), D: Math.exp(logTokens(largest)), k: 1, clipped: true };
    }
    const logN = fallingRoot(balance, largest - WIDEST_LOG, largest);
    const [D, k] = [Math.exp(logTokens(logN)), Math.exp(logSamples(logN))];
    return { N: Math.exp(logN), D, k, clipped: false };
  }

  // Over the price m = lambda N: what is spent a parameter follows from it.
  function oneBudget(logC) {
    const logTokens = (price) => (gain.tokens(0) - token - price) / (1 + beta);
    const logSamples = (price) => (gain.samples(0) - sample - price) / (1 + gamma);
    const free = (price) => logAdd(logAdd(token + logTokens(price), sample + logSamples(price)),
      prompt > 0 ? Math.log(prompt) : -Infinity);
    const held = (price) => logAdd(token + logTokens(price), Math.log(Math.exp(sample) + prompt));
    const solve = (spend) => fallingRoot(
      (price) => gain.size(logC - spend(price)) - price - spend(price), -WIDEST_LOG, WIDEST_LOG);
    let price = solve(free);
    const clipped = logSamples(price) < 0;
    if (clipped) price = solve(held);
    const logN = logC - (clipped ? held : free)(price);
    const k = clipped ? 1 : Math.exp(logSamples(price));
    return { N: Math.exp(logN), D: Math.exp(logTokens(price)), k, clipped };
  }
}
