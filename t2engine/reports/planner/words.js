// The answer in words and in a table.

function subjectOf(document) {
  const { law, held_out_errors: errors, costs_are: costs } = document;
  const seen = law.fit ? `, fitted to ${law.fit.num_checkpoints} trained models` : "";
  const tested = Object.entries(errors).map(([name, x]) => `${name} ${x.toFixed(3)}`).join(", ");
  return `Law of success: ${law.law}${seen}${tested ? `; error of pass@k on models held out: ` +
    tested : ""}. Costs: ${costs}.`;
}

function headlineOf(view) {
  const { t2 } = view.plan, rounded = show.count(t2.k);
  const draw = t2.k < 1.005 ? "draw <b>1</b> sample for each question"
    : `draw <b>${rounded}</b> samples for each question`;
  const one = `Train a model of <b>${show.count(t2.N)}</b> parameters on ` +
    `<b>${show.count(t2.D)}</b> tokens and ${draw}: at least one is predicted to be right for ` +
    `<b>${show.pass(t2.pass_at_k)}</b> of the questions.`;
  return `<p class="lead">${one}</p><p class="lead">` +
    `${savingOf(view)}</p>`;
}

const savedShare = ({ saving }) => `${(100 * saving).toFixed(1)} %`;

function savingOf(view) {
  const { plan, settings } = view, { unit } = view.document, ratio = plan.budget_ratio;
  if (ratio === null) {
    return "Training the compute-optimal way does not get there at a million times the budget: " +
      "no saving can be stated.";
  }
  if (plan.held_back) {
    return "The compute-optimal plan, which the limits do not hold, predicts more at this " +
      `budget: <b>${show.pass(plan.compute_optimal.pass_at_k)}</b>.`;
  }
  if (ratio <= 1 + 1e-6) {
    return "Training the compute-optimal way is as good at this budget: there is nothing to save.";
  }
  const spent = settings.budget || settings.train_budget, more = (ratio - 1) * spent;
  const money = moneyWords(more, view);
  const amount = unit === "usd" ? money : `${show.amount(more, unit)} (${money})`;
  const what = settings.budget ? "more" : "more to train, and as many times more to answer";
  return `Training the compute-optimal way would take <b>${show.count(ratio)} times</b> the ` +
    `budget for the same, ${amount} ${what}: the plan saves ` +
    `<b>${savedShare(plan)}</b>.`;
}

// "0.42 USD", and whether its price is only an assumption.
function moneyWords(cost, { settings, document, controls }) {
  const assumed = controls.some((c) => c.assumed && settings[c.name] === c.value);
  return `${show.money(moneyOf(cost, document.unit, settings))}${assumed ? ", at an assumed price"
    : ""}`;
}

// The answer in a line, for the foot of a small screen.
function barOf({ plan: { t2 } }) {
  const parts = [["N", show.count(t2.N)], ["D", show.count(t2.D)], ["k", show.count(t2.k)],
    ["pass@k", show.pass(t2.pass_at_k)]];
  return parts.map(([name, value]) => `<span>${name} <b>${value}</b></span>`).join("");
}

function tilesOf(view) {
  const { plan, settings, bands } = view, { t2 } = plan;
  const spent = settings.budget || settings.train_budget;
  const saved = plan.budget_ratio === null ? null : (plan.budget_ratio - 1) * spent;
  const band = bands ? "; a newly trained model may come out at " +
    rangeOf(bands.passBand(t2), show.pass) : "";
  const tiles = [
    [show.count(t2.N), "parameters N"], [show.count(t2.D), "training tokens D"],
    [show.count(t2.k), "samples per question k"],
    [show.pass(t2.pass_at_k), `predicted pass@k${band}`],
    [plan.saving === null ? "unknown" : plan.saving > 0 ? savedShare(plan) : "none",
      "saved of what compute-optimal training needs" +
      (!saved ? "" : `: ${moneyWords(saved, view)}`)],
  ];
  return tiles.map(([number, text]) => `<div><b>${number}</b><span>${text}</span></div>`).join("");
}

const rangeOf = ([low, high], format) => `${format(low)} to ${format(high)}`;

// moved: {N, D, k, tokens_per_parameter} of the refitted laws' plans, or null while not known.
function tableOf({ plan, settings, document, bands, moved }) {
  const { unit } = document, split = settings.budget === undefined;
  const band = (name, format) => (moved ? rangeOf(moved[name], format) : "…");
  const pass = (x) => (bands ? rangeOf(bands.passBand(x), show.pass) : "");
  const cost = (name) => (x) => {
    const share = split ? "" : ` (${Math.round(100 * x[name] / x.total_cost)} %)`;
    return `${show.amount(x[name], unit)}${share}`;
  };
  const money = (name) => (x) => show.money(moneyOf(x[name], unit, settings));
  const counted = (name) => [(x) => show.count(x[name]), band(name, show.count)];
  const rows = [
    ["parameters N", ...counted("N")],
    ["training tokens D", ...counted("D")],
    ["tokens per parameter D/N", ...counted("tokens_per_parameter")],
    ["samples per question k", ...counted("k")],
    ["predicted pass@k", (x) => show.pass(x.pass_at_k), pass(plan.t2)],
    ["training cost", cost("train_cost"), ""],
    [split ? "cost of one question" : "cost of all answers", cost("inference_cost"), ""],
    ...(split ? [] : [["total", (x) => show.amount(x.total_cost, unit), ""]]),
    ...(unit === "usd" ? [] : split
      ? [["training in money", money("train_cost"), ""],
        ["one question in money", money("inference_cost"), ""]]
      : [["total in money", money("total_cost"), ""]]),
  ];
  const banded = (cell) => (bands ? cell : "");
  const head = '<tr><th></th><th class="n">T²</th><th class="n">compute-optimal</th>' +
    `${banded(`<th class="n">T², ${bands && 100 * bands.level} % band</th>`)}</tr>`;
  return `<table>${head}${rows.map(([name, value, range]) => `<tr><td>${name}</td>` +
    `<td class="n main">${value(plan.t2)}</td><td class="n">${value(plan.compute_optimal)}</td>` +
    `${banded(`<td class="n">${range}</td>`)}</tr>`).join("")}</table>`;
}

// How far off measured prices may be is known where the page began; `t2 plan` says it elsewhere.
function spreadWords({ spreads }, isStart) {
  if (spreads.length && !isStart) {
    return "How far off these measured prices may be, the command below says.";
  }
  return spreads.map(escapeText).join("<br>");
}

function warningsOf({ plan, document }) {
  // but for the symbols N, D and k
  const capital = (text) => escapeText(/^\w+ =/.test(text) ? text
    : text[0].toUpperCase() + text.slice(1));
  const said = [...document.notes, ...plan.warnings, ...plan.t2.warnings].map(capital);
  const other = plan.compute_optimal.warnings.map((x) => `Compute-optimal: ${escapeText(x)}`);
  return said.concat(other).map((x) => `<li>${x}</li>`).join("");
}

// Limits of the command that no slider moves.
function heldWords({ limits, target }) {
  const held = [];
  if (target !== null) held.push(`The budget begins at the least cost of a pass@k of ${target}.`);
  if (limits.min_size) held.push(`No model below ${show.count(limits.min_size)} parameters.`);
  if (limits.unique_tokens) {
    held.push(`${show.count(limits.unique_tokens)} tokens of data, seen at most ` +
      `${show.count(limits.max_epochs || 1)} times.`);
  }
  if (limits.allowed_sizes.length) {
    held.push(`Only models of ${limits.allowed_sizes.map(show.count).join(", ")} parameters.`);
  }
  return held.join(" ");
}
