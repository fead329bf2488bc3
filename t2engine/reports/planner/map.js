// The iso-cost picture: over N and D / N, the best pass@k that the budget leaves room for.

const MAP_COLUMNS = 88, MAP_ROWS = 66;
const MAP_LEVELS = [1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995,
  0.999, 0.9995, 0.9999, 0.99999, 0.999999];
const TRAINING_SHARES = [1, 0.5, 0.1, 0.01];

// The k that a model of N and D leaves room for, at least 1, and its merit.
function leftFor(problem, N, D) {
  const { limits, budget, split, law } = problem, at = problem.cost.at(N);
  const room = split ? budget.inference : Math.max(budget.total - at.train(D), 0);
  const k = Math.max(Math.min(at.samplesFor(room), limits.mostSamples(at)), 1);
  return { k, merit: law.merit(N, Math.max(D, 1), k) };
}

// The most tokens that a model of N can be trained on within the budget and the limits; 0 where
// it cannot be had at all.
function mostTokensAt(problem, N) {
  const { limits, budget, split } = problem, at = problem.cost.at(N);
  if (N < limits.low * (1 - BINDS) || N > limits.high * (1 + BINDS)) return 0;
  if (limits.max_memory_bytes && at.memory(1) > limits.max_memory_bytes) return 0;
  if (limits.mostSamples(at) < 1 || (split && at.samplesFor(budget.inference) < 1)) return 0;
  const train = split ? budget.train : budget.total - at.serve(1);
  return train > 0 ? Math.min(at.tokensFor(train), limits.mostTokens) : 0;
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

// The axes hold both plans and the data, with some room.
function mapAxes(places, box) {
  return [0, 1].map((axis) => {
    const values = places.map((place) => place[axis]);
    const low = Math.min(...values) - 0.6, high = Math.max(...values) + 0.9;
    return [box.x, box.y][axis](Math.floor(low * 4) / 4, Math.ceil(high * 4) / 4);
  });
}

// The part of the picture that no budget and no limit allows.
function neverArea(problem, x, y) {
  const edge = spaced(x.low, x.high, 4 * MAP_COLUMNS).map((size) => {
    const D = mostTokensAt(problem, 10 ** size);
    return [x(size), D > 0 ? clamp(y(Math.log10(D) - size), y.to, y.from) : y.from];
  });
  return area([[x.from, y.to], ...edge, [x.to, y.to]], "never");
}

function mapFigure(view, width) {
  const { problem, plan, refits, moved, document } = view, box = boxOf(width, 0.72);
  const data = dataOf(document.checkpoints, problem.law.fit), hull = hullOf(data);
  const plans = [plan.t2, plan.compute_optimal].map(placeIn);
  const [x, y] = mapAxes([...plans, ...data], box), field = fieldOf(problem, x, y);
  const pixel = ([a, b]) => [x(a), y(b)], others = refits.map(placeIn).map(pixel);
  const dots = (points, kind, radius) => points.map(([px, py]) =>
    `<circle class="${kind}" cx="${fixed(px)}" cy="${fixed(py)}" r="${radius}"/>`);
  const taken = [...plans, ...data].map(pixel).concat(others);
  const costs = costLines(problem, x, y, taken);
  const [lines, labels] = levelLines(problem.law, field, x, y, plan, taken);
  const inside = [
    ...shades(field, x, y), ...lines, neverArea(problem, x, y), ...costs, ...labels,
    hull.length > 2 ? area(hull.map(pixel), "hull") : "",
    ...(document.checkpoints ? dots(data.map(pixel), "checkpoint", 2.6) : []),
    `<g class="${moved ? "" : "faded"}">`, ...dots(others, "refit", 3), "</g>",
    mark("chinchilla", ...pixel(plans[1]), "compute-optimal"), mark("t2", ...pixel(plans[0]), "T²"),
  ].join("");
  const svg = picture({
    id: "map", label: "Predicted pass@k over N and D / N, with the data and both plans",
    ...box, x, y, inside,
    xTicks: logTicks(x.low, x.high, box.most), yTicks: logTicks(y.low, y.high, 8),
    xLabel: "parameters N", yLabel: "tokens per parameter D / N",
  });
  return { svg, x, y };
}

// pass@k as log-odds [rows][columns] at the corners of the grid, also where D is more than can be
// bought, which the picture covers.
function fieldOf(problem, x, y) {
  const across = spaced(x.low, x.high, MAP_COLUMNS), up = spaced(y.low, y.high, MAP_ROWS);
  const odds = up.map((ratio) => across.map((size) => {
    const N = 10 ** size;
    return oddsOf(problem.law, leftFor(problem, N, N * 10 ** ratio).merit);
  }));
  const most = across.map((size) => Math.log10(mostTokensAt(problem, 10 ** size)) - size);
  return { odds, across, up, most, levels: levelsIn(odds, up, most) };
}

// Those that lie in the part that can be bought.
function levelsIn(odds, up, most) {
  const values = odds.flatMap((row, r) => row.filter((_, c) => up[r] <= most[c]));
  const low = Math.min(...values), high = Math.max(...values);
  const within = MAP_LEVELS.filter((p) => low < logOdds(p) && logOdds(p) < high);
  return within.slice(-8);
}

// From columns and rows of the field's grid to pixels.
function onGrid({ across, up }, x, y) {
  return ([c, r]) => [x(across[0] + c * (across[1] - across[0])), y(up[0] + r * (up[1] - up[0]))];
}

const pathOf = (points) => points.map(([px, py]) => `${fixed(px)} ${fixed(py)}`).join("L");

// Opaque, from the lowest level to the highest.
function shades({ odds, levels, ...grid }, x, y) {
  const pixel = onGrid(grid, x, y);
  return [-Infinity, ...levels.map(logOdds)].map((level, i) => {
    const share = (i + 1) / (levels.length + 1), strength = fixed(5 + 50 * share ** 1.5);
    const path = above(odds, level).map((polygon) => `M${pathOf(polygon.map(pixel))}Z`).join("");
    return `<path style="fill:color-mix(in srgb, var(--shade) ${strength}%, var(--card))" ` +
      `d="${path}"/>`;
  });
}

// Where training takes a share of the budget: straight for the formula, bent for a machine.
function costLines(problem, x, y, taken) {
  const budget = problem.split ? problem.budget.train : problem.budget.total;
  const labelled = [];
  return TRAINING_SHARES.map((share) => {
    const points = spaced(x.low, x.high, 60).map((size) => {
      const N = 10 ** size, D = problem.cost.at(N).tokensFor(share * budget);
      return [x(size), y(Math.log10(D / N))];
    });
    const seen = points.filter(([, py]) => py > y.to + 16 && py < y.from - 8);
    const text = `${100 * share} %`, last = seen[seen.length - 1];
    if (!last) return line(points, "cost");
    const at = [Math.min(last[0], x.to - 22), last[1]];
    if (labelled.some(([px, py]) => Math.abs(px - at[0]) < 40 && Math.abs(py - at[1]) < 14)) {
      return line(points, "cost");
    }
    labelled.push(at);
    taken.push(at);
    return line(points, "cost") + words(at[0], at[1], text, "cost-label", "middle");
  });
}

function levelLines(law, field, x, y, plan, taken) {
  const { odds, up, most } = field, labels = [], pixel = onGrid(field, x, y);
  const path = (segments) => segments.map((ends) => `M${pathOf(ends.map(pixel))}`).join("");
  const { N, D, k } = plan.compute_optimal;
  const equal = contour(odds, oddsOf(law, law.merit(N, Math.max(D, 1), k)));
  const lines = [`<path class="equal" d="${path(equal)}"/>`];
  const bought = ([c, r]) => up[Math.min(Math.ceil(r) + 1, MAP_ROWS - 1)] < most[Math.round(c)];
  for (const level of field.levels) {
    const segments = contour(odds, logOdds(level)), text = passLabel(level);
    lines.unshift(`<path class="level" d="${path(segments)}"/>`);
    const at = roomiest(segments.map(([p]) => p).filter(bought).map(pixel), taken, { x, y },
      text.length * LETTER / 2 + 8);
    if (!at) continue;
    taken.push(at);
    labels.push(words(at[0], at[1] + 4, text, "level-label", "middle"));
  }
  return [lines, labels];
}

// What lies under the pointer of the iso-cost picture.
function underPointer(event, { problem, map: { x, y } }) {
  const { left, top, width } = event.currentTarget.getBoundingClientRect();
  const stretch = (x.to + MARGIN.right) / width; // of the picture to the screen
  const N = 10 ** x.invert((event.clientX - left) * stretch);
  const D = N * 10 ** y.invert((event.clientY - top) * stretch);
  const found = D >= 1 && D <= mostTokensAt(problem, N) && leftFor(problem, N, D);
  return `N ${show.count(N)}, D ${show.count(D)}, D/N ${show.count(D / N)}: ` +
    (found ? `k ${show.count(found.k)}, pass@k ${show.pass(problem.law.passOf(found.merit))}`
      : "not within the budget and the limits");
}
