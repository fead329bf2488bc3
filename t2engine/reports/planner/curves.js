// Two pictures of pass@k: over the budget, and over k at each plan's own N and D.

const bounded = (p) => logOdds(clamp(p, 1e-9, 1 - 1e-9));

// Ends of an axis of log-odds that holds all values, at least a decade wide.
function passRange(values) {
  const low = Math.max(Math.min(...values), -6), high = Math.min(Math.max(...values), 8);
  const middle = (low + high) / 2, half = Math.max((high - low) / 2, 0.6) * 1.06;
  return [middle - half, middle + half];
}

// The axes hold every point of the frontier and the plan itself.
function frontierAxes({ frontier: { points }, plan }, budget, box) {
  const at = [budget, ...points.map((point) => point.budget)].map(Math.log10);
  const [low, high] = [Math.min(...at), Math.max(...at)];
  const heights = points.flatMap(({ t2, chinchilla }) => [t2, chinchilla]);
  return {
    x: high > low ? box.x(low, high) : box.x(low - 1, high + 1),
    y: box.y(...passRange([...heights, plan.t2.pass_at_k].map(bounded))),
  };
}

// frontier: {points: [{budget, t2, chinchilla, band}], stale}
function frontierFigure(view, width) {
  const { frontier, plan, document, settings } = view, { points } = frontier;
  const budget = settings.budget || settings.train_budget, here = Math.log10(budget);
  const box = boxOf(width, 0.62), { x, y } = frontierAxes(view, budget, box);
  const over = (pick) => points.map((point) => [x(Math.log10(point.budget)),
    y(bounded(pick(point)))]);
  const inside = [
    `<g class="${frontier.stale ? "faded" : ""}">`,
    points.length && points[0].band
      ? area([...over((p) => p.band[0]), ...over((p) => p.band[1]).reverse()], "band") : "",
    line(over((p) => p.chinchilla), "curve chinchilla"), line(over((p) => p.t2), "curve t2"),
    "</g>", line([[x(here), y.to], [x(here), y.from]], "now"),
    mark("chinchilla", x(here), y(bounded(plan.compute_optimal.pass_at_k)), "compute-optimal"),
    mark("t2", x(here), y(bounded(plan.t2.pass_at_k)), "T²"),
  ].join("");
  const unit = { flops: "FLOPs", seconds: "seconds", usd: "USD", joules: "joules" }[document.unit];
  return picture({
    id: "frontier", label: "Predicted pass@k over the budget, T² and compute-optimal",
    ...box, x, y, inside,
    xTicks: logTicks(x.low, x.high, box.most - 1, document.unit === "flops" ? power10 : show.tick),
    yTicks: passTicks(y.low, y.high, 9),
    xLabel: `${settings.budget ? "budget" : "training budget, the other in step"}, ${unit}`,
    yLabel: "predicted pass@k",
  });
}

const power10 = (x) => power(Number(x.toPrecision(3)));

function curveFigure(view, width) {
  const { plan, problem, bands } = view, { law } = problem, { t2, compute_optimal: optimal } = plan;
  const box = boxOf(width, 0.62);
  const high = Math.log10(Math.max(t2.k, optimal.k, 10)) + 0.7;
  const x = box.x(0, high), at = spaced(0, high, 32);
  const over = ({ N, D }) => at.map((logK) => law.pass(N, Math.max(D, 1), 10 ** logK));
  const passes = { t2: over(t2), chinchilla: over(optimal) };
  const band = bands && at.map((logK, i) =>
    bands.passBand({ N: t2.N, D: t2.D, k: 10 ** logK, pass_at_k: passes.t2[i] }));
  const y = box.y(...passRange([...passes.t2, ...passes.chinchilla].map(bounded)));
  const points = (values) => values.map((p, i) => [x(at[i]), y(bounded(p))]);
  const seen = law.fit ? Math.log10(law.fit.k_range[1]) : high;
  const inside = [
    seen < high ? `<rect class="beyond" x="${fixed(x(seen))}" y="${y.to}" ` +
      `width="${fixed(x.to - x(seen))}" height="${fixed(y.from - y.to)}"/>` : "",
    band ? area([...points(band.map((b) => b[0])), ...points(band.map((b) => b[1])).reverse()],
      "band") : "",
    line(points(passes.chinchilla), "curve chinchilla"), line(points(passes.t2), "curve t2"),
    mark("chinchilla", x(Math.log10(optimal.k)), y(bounded(optimal.pass_at_k)), "compute-optimal"),
    mark("t2", x(Math.log10(t2.k)), y(bounded(t2.pass_at_k)), "T²"),
    seen < high - 0.4 ? words(x(seen) + 6, y.from - 8, "beyond the data", "note") : "",
  ].join("");
  return picture({
    id: "curve", label: "Predicted pass@k over k for the models of both plans",
    ...box, x, y, inside,
    xTicks: logTicks(x.low, x.high, box.most), yTicks: passTicks(y.low, y.high, 9),
    xLabel: "samples per question k", yLabel: "predicted pass@k",
  });
}
