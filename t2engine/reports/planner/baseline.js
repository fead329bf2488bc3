// The compute-optimal plan at the same budget, and the multiple of the budget at which it is as
// good as the T2 plan, as t2engine/plan/baseline.py.

const LARGEST_RATIO = 1e6, SAME_MERIT = 1e-9;
const PATH_POINTS = 257, ZOOM_POINTS = 33, PATH_REACH = 1e9, FINEST = 1e-6, LARGEST_LOG = 600;
const ROOT_RANGE = [-50, 200];

function computeOptimal(problem) {
  if (!problem.split) return bestOnPath(problem);
  const { train, inference } = problem.budget, { cost } = problem;
  const tokens = pathTokens(problem.law.training);
  const overTraining = (logN) => cost.at(Math.exp(logN)).train(tokens(logN)) - train;
  const overServing = (logN) => cost.at(Math.exp(logN)).serve(1) - inference;
  const logN = risingRoot(overTraining), most = risingRoot(overServing);
  const N = Math.exp(Math.min(logN, most)), at = cost.at(N), clipped = most < logN;
  return baselineAt(problem, N, at.tokensFor(train), clipped ? 1 : at.samplesFor(inference),
    clipped);
}

// The D that belongs to each ln N on the path of least training loss.
function pathTokens({ A, alpha, B, beta }) {
  const gain = Math.log(beta * B) - Math.log(alpha * A);
  return (logN) => Math.exp(Math.min((gain + alpha * logN) / beta, LARGEST_LOG));
}

function bestOnPath(problem) {
  const { cost, law } = problem, total = problem.budget.total, tokens = pathTokens(law.training);
  const top = risingRoot((logN) => {
    const at = cost.at(Math.exp(logN));
    return at.train(tokens(logN)) + at.serve(1) - total;
  });
  let low = top - Math.log(PATH_REACH), high = top;
  for (let points = PATH_POINTS; ; points = ZOOM_POINTS) {
    const logN = spaced(low, high, points);
    let best = null;
    logN.forEach((x, i) => {
      const N = Math.exp(x), D = tokens(x), at = cost.at(N);
      const k = Math.max(at.samplesFor(total - at.train(D)), 1);
      const merit = law.merit(N, Math.max(D, 1), k);
      if (best === null || merit > best.merit) best = { i, N, D, k, merit };
    });
    low = logN[Math.max(best.i - 1, 0)];
    high = logN[Math.min(best.i + 1, points - 1)];
    if (high - low < FINEST) return baselineAt(problem, best.N, best.D, best.k, false);
  }
}

function baselineAt(problem, N, D, k, clipped) {
  return { N, D, k, merit: problem.law.merit(N, Math.max(D, 1), k), clipped };
}

// The last ln N at which a rising function is not above 0, to the last bit.
function risingRoot(rising) {
  return fallingRoot((logN) => -rising(logN), ...ROOT_RANGE);
}

// The least multiple of the budget at which the compute-optimal plan reaches `merit`, or null.
function budgetRatio(problem, merit) {
  const short = (logRatio) => merit - computeOptimal(problem.scaled(Math.exp(logRatio))).merit;
  let low = 0, high = Math.log(LARGEST_RATIO);
  let atLow = short(low), atHigh = short(high);
  if (atLow <= SAME_MERIT * Math.abs(merit)) return 1;
  if (atHigh > 0) return null;
  while (high - low > 1e-9 && atLow !== atHigh) { // false position, the Illinois rule
    const middle = (low * atHigh - high * atLow) / (atHigh - atLow), value = short(middle);
    if (Math.abs(value) < 1e-12 || !(low < middle && middle < high)) return Math.exp(middle);
    if (value > 0) [low, atLow, atHigh] = [middle, value, atHigh / 2];
    else [high, atHigh, atLow] = [middle, value, atLow / 2];
  }
  return Math.exp(high);
}
