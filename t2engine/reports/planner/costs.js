// What training and serving cost, as t2engine/costs/formula.py and calibrated.py.
// cost.at(N) gives the prices of models of N parameters:
//   train(D), serve(k), tokensFor(budget), samplesFor(budget), samplesWithin(seconds), memory(k)

const FLATTEST = 1e-12; // rise of ln price between two k of a table

// 6 N D to train, 2 N for each served token: `questions` of k samples and one prompt.
function formulaCost(document, demand) {
  const { questions, output_tokens, prompt_tokens } = demand;
  return {
    at(N) {
      const token = document.train_flops_per_parameter * N;
      const served = questions * document.serve_flops_per_parameter * N;
      return {
        train: (D) => token * D,
        serve: (k) => served * (k * output_tokens + prompt_tokens),
        tokensFor: (budget) => budget / token,
        samplesFor: (budget) => (budget / served - prompt_tokens) / output_tokens,
      };
    },
  };
}

// Measured prices are tables of logarithms over ln N and ln k, with straight lines between.
// From `proportional_from` questions on, the price of serving is in proportion to them.
function tableCost(document, demand) {
  const { log_N, log_k, log_serve, log_alone, log_memory } = document;
  const more = Math.log(demand.questions / document.questions);
  return {
    at(N) {
      const logN = Math.log(N), place = placeOf(log_N, log_N.length, logN);
      const { log_token, log_N_token } = document;
      const token = Math.exp(between(log_token, placeOf(log_N_token, log_N_token.length, logN)));
      const serve = rowAt(log_serve, place, more);
      return {
        train: (D) => D * token,
        serve: (k) => valueAt(log_k, serve, k),
        tokensFor: (budget) => budget / token,
        samplesFor: (budget) => pointAt(log_k, serve, budget),
        samplesWithin: (seconds) => pointAt(log_k, rowAt(log_alone, place, 0), seconds),
        memory: (k) => valueAt(log_k, rowAt(log_memory, place, 0), k),
      };
    },
  };
}

function costOf(document, demand) {
  return document.kind === "formula" ? formulaCost(document, demand) : tableCost(document, demand);
}

// The cell of a rising grid that x lies in, and where in it; beyond an end, the cell there.
function placeOf(grid, length, x) {
  const above = cellAbove((i) => grid[i], length, x);
  return { above, share: (x - grid[above - 1]) / (grid[above] - grid[above - 1]) };
}

// How many of the rising values lie below x, held within the cells.
function cellAbove(value, length, x) {
  let low = 0, high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (value(middle) < x) low = middle + 1;
    else high = middle;
  }
  return clamp(low, 1, length - 1);
}

function between(values, { above, share }) {
  return (1 - share) * values[above - 1] + share * values[above];
}

// A row between two rungs, its values computed when they are asked for.
function rowAt(rows, { above, share }, more) {
  const low = rows[above - 1], high = rows[above];
  return (i) => (1 - share) * low[i] + share * high[i] + more;
}

// exp of a row of logarithms at k, which is held within the grid.
function valueAt(log_k, row, k) {
  const x = clamp(Math.log(k), log_k[0], log_k[log_k.length - 1]);
  const { above, share } = placeOf(log_k, log_k.length, x);
  return Math.exp((1 - share) * row(above - 1) + share * row(above));
}

// The k at which a rising row reaches a price; below the first, as much below 1 as the price is.
function pointAt(log_k, row, price) {
  const logPrice = Math.log(Math.max(price, 0)), least = row(0);
  const x = clamp(logPrice, least, row(log_k.length - 1));
  const above = cellAbove(row, log_k.length, x), low = row(above - 1);
  const share = (x - low) / Math.max(row(above) - low, FLATTEST);
  return Math.exp(between(log_k, { above, share }) + Math.min(0, logPrice - least));
}
