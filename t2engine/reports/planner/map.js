// The iso-cost picture: over N and D / N, the best pass@k that the budget leaves room for.

const MAP_COLUMNS = 72, MAP_ROWS = 54;
const MAP_LEVELS = [1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995,
  0.999, 0.9995, 0.9999, 0.99999, 0.999999];
const TRAINING_SHARES = [1, 0.5, 0.1, 0.01];

// The k that is left for a model of N and D, and its pass@k; null where none is.
function leftFor(problem, N, D) {
  const { limits, budget, split, law } = problem, at = problem.cost.at(N), train = at.train(D);
  if (!(D >= 1) || D > limits.mostTokens * (1 + BINDS)) return null;
  if (N < limits.low * (1 - BINDS) || N > limits.high * (1 + BINDS)) return null;
  if (split && train > budget.train * (1 + BINDS)) return null;
  const room = split ? budget.inference : budget.total - train;
  const k = Math.min(at.samplesFor(room), limits.mostSamples(at));
  if (!(k >= 1)) return null;
  if (limits.max_memory_bytes && at.memory(k) > limits.max_memory_bytes) return null;
  return { k, merit: law.merit(N, D, k) };
}

// ln of the odds of a merit, finite where pass@k has rounded to 1 or to 0.
function oddsOf(law, merit) {
  const p = law.passOf(merit);
  return Math.log10(clamp(p, 1e-12, 1) / clamp(1 - p, 1e-12, 1));
}

// In log10: N, D / N.
const placeIn = ({ N, D }) => [Math.log10(N), Math.log10(D / N)];

function dataOf(checkpoints, fit) {
  if (checkpoints) return checkpoints.map(([N, D]) => placeIn({ N, D }));
  if (!fit) return [];
  return fit.N_range.flatMap((N) => fit.D_range.map((D) => placeIn({ N, D })));
}

function mapFigure(view, width) {
  const { problem, plan, refits, document } = view;
  const box = boxOf(width, 0.72), places = { t2: placeIn(plan.t2), chinchilla: placeIn(plan.compute_optimal) };
  const data = dataOf(document.checkpoints, problem.law.fit), hull = hullOf(data);
  const [x, y] = [0, 1].map((axis) => {
    const values = [places.t2, places.chinchilla, ...data].map((place) => place[axis]);
    const low = Math.min(...values) - 0.6, high = Math.max(...values) + 0.6;
    return [box.x, box.y][axis](Math.floor(low * 4) / 4, Math.ceil(high * 4) / 4);
  });
  const field = fieldOf(problem, x, y);
  const taken = [places.t2, places.chinchilla].map(([a, b]) => [x(a), y(b)]);
  const inside = [
    ...shades(field.odds, x, y), ...costLines(problem, x, y, taken),
    ...levelLines(problem.law, field, x, y, plan, taken),
    hull.length > 2 ? area(hull.map(([a, b]) => [x(a), y(b)]), "hull") : "",
    ...(document.checkpoints ? data.map(([a, b]) =>
      `<circle class="checkpoint" cx="${fixed(x(a))}" cy="${fixed(y(b))}" r="2.6"/>`) : []),
    ...refits.map(placeIn).map(([a, b]) =>
      `<circle class="refit" cx="${fixed(x(a))}" cy="${fixed(y(b))}" r="3"/>`),
    mark("chinchilla", x(places.chinchilla[0]), y(places.chinchilla[1]), "compute-optimal"),
    mark("t2", x(places.t2[0]), y(places.t2[1]), "T²"),
  ].join("");
  const svg = picture({
    id: "map", label: "Predicted pass@k over N and D / N, with the data and both plans",
    ...box, x, y, inside,
    xTicks: logTicks(x.low, x.high, box.most), yTicks: logTicks(y.low, y.high, 8),
    xLabel: "parameters N", yLabel: "tokens per parameter D / N",
  });
  return { svg, x, y };
}

// pass@k as log-odds [rows][columns] at the corners of the grid, nan where nothing can be bought.
function fieldOf(problem, x, y) {
  const across = spaced(x.low, x.high, MAP_COLUMNS), up = spaced(y.low, y.high, MAP_ROWS);
  const odds = up.map((ratio) => across.map((size) => {
    const N = 10 ** size, found = leftFor(problem, N, N * 10 ** ratio);
    return found ? oddsOf(problem.law, found.merit) : NaN;
  }));
  return { odds, across, up };
}

function levelsIn(odds) {
  const values = odds.flat().filter(Number.isFinite);
  const low = Math.min(...values), high = Math.max(...values);
  const within = MAP_LEVELS.filter((p) => low < logOdds(p) && logOdds(p) < high);
  return within.slice(-9);
}

// Runs of equal colour, row by row.
function shades(odds, x, y) {
  const levels = levelsIn(odds).map(logOdds), rects = [];
  const wide = (x.to - x.from) / (MAP_COLUMNS - 1), tall = (y.from - y.to) / (MAP_ROWS - 1);
  odds.forEach((values, row) => {
    const steps = values.map((v) => (Number.isFinite(v) ? levels.filter((l) => l <= v).length : -1));
    for (let from = 0, to; from < steps.length; from = to) {
      for (to = from + 1; to < steps.length && steps[to] === steps[from];) to++;
      const share = (1 + Math.max(steps[from], 0)) / (levels.length + 1);
      const kind = steps[from] < 0 ? `class="never"`
        : `class="shade" fill-opacity="${(0.05 + 0.5 * share ** 1.5).toFixed(3)}"`;
      rects.push(`<rect ${kind} x="${fixed(x.from + (from - 0.5) * wide)}" ` +
        `y="${fixed(y.from - (row + 0.5) * tall)}" width="${fixed((to - from) * wide)}" ` +
        `height="${fixed(tall)}" shape-rendering="crispEdges"/>`);
    }
  });
  return rects;
}

// Where training takes a share of the budget: straight for the formula, bent for a machine.
function costLines(problem, x, y, taken) {
  const budget = problem.split ? problem.budget.train : problem.budget.total;
  return TRAINING_SHARES.map((share) => {
    const points = spaced(x.low, x.high, 60).map((size) => {
      const N = 10 ** size, D = problem.cost.at(N).tokensFor(share * budget);
      return [x(size), y(Math.log10(D / N))];
    });
    const seen = points.filter(([, py]) => py > y.to + 16 && py < y.from - 8);
    const text = `${100 * share} %`, last = seen[seen.length - 1];
    if (!last) return line(points, "cost");
    const at = [Math.min(last[0], x.to - 22), last[1]];
    taken.push(at);
    return line(points, "cost") + words(at[0], at[1], text, "cost-label", "middle");
  });
}

function levelLines(law, { odds, across, up }, x, y, plan, taken) {
  const pixel = ([c, r]) => [x(across[0] + c * (across[1] - across[0])),
    y(up[0] + r * (up[1] - up[0]))];
  const path = (segments) => segments.map(([p, q]) => {
    const [[px, py], [qx, qy]] = [pixel(p), pixel(q)];
    return `M${fixed(px)} ${fixed(py)}L${fixed(qx)} ${fixed(qy)}`;
  }).join("");
  const { N, D, k } = plan.compute_optimal;
  const equal = contour(odds, oddsOf(law, law.merit(N, Math.max(D, 1), k)));
  const lines = [`<path class="equal" d="${path(equal)}"/>`];
  for (const level of levelsIn(odds)) {
    const segments = contour(odds, logOdds(level)), text = passLabel(level);
    lines.unshift(`<path class="level" d="${path(segments)}"/>`);
    const at = roomiest(segments.map(([p]) => pixel(p)), taken, { x, y }, text.length * LETTER / 2);
    if (!at) continue;
    taken.push(at);
    lines.push(words(at[0], at[1] + 4, text, "level-label", "middle"));
  }
  return lines;
}
