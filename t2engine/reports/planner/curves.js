// Two pictures of pass@k: over the budget, and over k at each plan's own N and D.

const bounded = (p) => logOdds(clamp(p, 1e-9, 1 - 1e-9));

// Ends of an axis of log-odds that holds all values, at least a decade wide.
function passRange(values) {
  const low = Math.max(Math.min(...values), -6), high = Math.min(Math.max(...values), 8);
  const middle = (low + high) / 2, half = Math.max((high - low) / 2, 0.6) * 1.06;
  return [middle - half, middle + half];
}

// frontier: [{factor, t2, chinchilla, band}] over multiples of the budget that are bought.
function frontierFigure(view, width) {
  const { frontier, plan, document, settings } = view;
  const budget = settings.budget || settings.train_budget;
  const box = boxOf(width, 0.62);
  const at = frontier.points.map((point) => Math.log10(point.budget));
  const ends = at.length > 1 ? [at[0], at[at.length - 1]] : [Math.log10(budget) - 1, Math.log10(budget) + 1];
  const x = box.x(Math.min(ends[0], Math.log10(budget)), Math.max(ends[1], Math.log10(budget)));
  const heights = frontier.points.flatMap(({ t2, chinchilla }) => [bounded(t2), bounded(chinchilla)]);
  const y = box.y(...passRange([...heights, bounded(plan.t2.pass_at_k)]));
  const over = (pick) => frontier.points.map((point, i) => [x(at[i]), y(bounded(pick(point)))]);
  const banded = frontier.points.length && frontier.points[0].band;
  const here = x(Math.log10(budget));
  const inside = [
    banded ? area([...over((p) => p.band[0]), ...over((p) => p.band[1]).reverse()], "band") : "",
    line([[here, y.to], [here, y.from]], "now"),
    line(over((p) => p.chinchilla), "curve chinchilla"), line(over((p) => p.t2), "curve t2"),
    mark("chinchilla", here, y(bounded(plan.compute_optimal.pass_at_k)), "compute-optimal"),
    mark("t2", here, y(bounded(plan.t2.pass_at_k)), "T²"),
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
  const x = box.x(0, high), at = spaced(0, high, 60);
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
