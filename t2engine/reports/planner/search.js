// Global search for the best (N, k) under a budget, as t2engine/plan/search.py: a grid over ln N
// and the logit of the share that goes to further samples finds every local maximum; each is
// refined by a box that halves around its best point.

const GRID_SPLIT = 1001, GRID_TOTAL = [161, 121];
const WIDEST_LOGIT = 14; // a share within 1e-6 of 0 or 1
const MAX_REFINED = 12, REFINE_POINTS = 9, REFINE_ROUNDS = 40;
const APART = 0.05; // in ln of N, D or k, of optima that are not the same one
const TIE = 1e-6; // relative difference of merit that no data can resolve
const LOWEST_SHARE = 1 / (1 + Math.exp(WIDEST_LOGIT));

const extraOf = (logit) => 1 / (1 + Math.exp(-logit)) - LOWEST_SHARE;

function spaced(low, high, count) {
  const step = (high - low) / (count - 1);
  return Array.from({ length: count }, (_, i) => (i === count - 1 ? high : low + i * step));
}

// `coarse`: a frontier's points, which a picture shows, need no last digit.
function search(problem, [lowN, highN], coarse = false) {
  const sizes = problem.limits.allowed, split = problem.split;
  const [rows, columns] = coarse ? [61, 41] : GRID_TOTAL;
  const count = split ? (coarse ? 241 : GRID_SPLIT) : rows;
  const logN = sizes.length ? sizes.map(Math.log) : spaced(Math.log(lowN), Math.log(highN), count);
  const logit = split ? [0] : spaced(-WIDEST_LOGIT, WIDEST_LOGIT, columns);
  const merit = gridOf(problem, logN, logit);
  let peaks = localMaxima(merit, logN.length, logit.length);
  if (!peaks.length) {
    const within = problem.limits.any ? " within the limits" : "";
    throw new TooSmall("the budget is too small: no model of " +
      `${show.count(Math.exp(logN[0]))} to ${show.count(Math.exp(logN[logN.length - 1]))} ` +
      `parameters can be trained on one token and sampled once${within}`);
  }
  peaks.sort((x, y) => y.merit - x.merit || x.order - y.order);
  const seen = new Set();
  peaks = peaks.filter(({ row, merit: value }) => {
    const key = `${row} ${value}`; // where a limit holds D or k many shares buy the same
    return seen.has(key) ? false : seen.add(key);
  }).slice(0, coarse ? 2 : MAX_REFINED);
  const bounds = {
    spacing: [sizes.length ? 0 : logN[1] - logN[0], split ? 0 : logit[1] - logit[0]],
    low: [logN[0], logit[0]],
    high: [logN[logN.length - 1], logit[logit.length - 1]],
  };
  const climbed = peaks.map(({ row, column }) =>
    refine(problem, [logN[row], logit[column]], bounds, coarse ? 18 : REFINE_ROUNDS));
  climbed.sort((x, y) => y.merit - x.merit);
  const best = climbed[0].merit, kept = [];
  for (const { point, merit: value } of climbed) {
    if (best - value > TIE * Math.abs(best)) break;
    const found = foundAt(problem, point, value, bounds);
    if (kept.every((other) => isApart(found, other))) kept.push(found);
  }
  return kept;
}

function gridOf(problem, logN, logit) {
  const merit = new Float64Array(logN.length * logit.length), extra = logit.map(extraOf);
  let i = 0;
  for (const x of logN) {
    const N = Math.exp(x), at = problem.cost.at(N);
    for (const share of extra) merit[i++] = problem.meritAt(at, N, share);
  }
  return merit;
}

// Points not below any of their neighbours: eight, or two on a line.
function localMaxima(merit, rows, columns) {
  const found = [];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const value = merit[row * columns + column];
      if (!Number.isFinite(value)) continue;
      let isPeak = true;
      for (let r = Math.max(row - 1, 0); isPeak && r <= Math.min(row + 1, rows - 1); r++) {
        for (let c = Math.max(column - 1, 0); c <= Math.min(column + 1, columns - 1); c++) {
          if (merit[r * columns + c] > value) isPeak = false;
        }
      }
      if (isPeak) found.push({ row, column, merit: value, order: found.length });
    }
  }
  return found;
}

function refine(problem, start, { spacing, low, high }, rounds) {
  const offsets = spaced(-1, 1, REFINE_POINTS);
  const across = spacing.map((width) => (width > 0 ? offsets : [0]));
  let point = start, merit = -Infinity, width = [...spacing];
  for (let round = 0; round < rounds; round++) {
    const [x, y] = point;
    for (const i of across[0]) {
      const logN = clamp(x + i * width[0], low[0], high[0]), N = Math.exp(logN);
      const at = problem.cost.at(N);
      for (const j of across[1]) {
        const logit = clamp(y + j * width[1], low[1], high[1]);
        const value = problem.meritAt(at, N, extraOf(logit));
        if (value > merit) [merit, point] = [value, [logN, logit]];
      }
    }
    width = width.map((w) => w / 2);
  }
  return { point, merit };
}

function foundAt(problem, [logN, logit], merit, { low, high }) {
  const N = Math.exp(logN), [D, k] = problem.planAt(problem.cost.at(N), extraOf(logit));
  const edges = Math.min(logN - low[0], high[0] - logN) < 1e-6 ? ["N"] : [];
  if (!problem.split && high[1] - logit < 1e-6) edges.push("split");
  return { N, D, k: Math.max(k, 1), merit, clipped: k < 1 + 1e-6, edges };
}

function isApart(one, other) {
  return ["N", "D", "k"].some((name) => Math.abs(Math.log(one[name] / other[name])) > APART);
}
