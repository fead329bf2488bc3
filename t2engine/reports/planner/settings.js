// The settings of the page: what each slider is, where it begins, and how an address holds them
// all: plan.html#budget=1e15&questions=2e6.

const FLOPS_UNIT = "FLOPs", MOST = 1e6; // sliders reach this far above where they begin

// {name, group, label, hint, low, high, value; zero or none: what the slider's far end stands for;
//  why: a reason that it cannot be moved}
function controlsOf(document) {
  const { budget, demand, limits, costs, law, unit } = document;
  const measured = costs.kind !== "formula", split = budget.total === undefined;
  const unitName = { flops: FLOPS_UNIT, usd: "USD" }[unit] || unit;
  const fit = law.fit || { N_range: [1e6, 1e9], D_range: [1e8, 1e11] };
  const fixedFor = measured && "measured for this many: run t2 plan with --tokens or " +
    "--prompt-tokens for others";
  const few = measured && demand.questions < costs.proportional_from && "the machine is not full " +
    "with so few: run t2 plan with --questions for others";
  const isPower = unit === "flops"; // written as 1e15 and not as 1,000T
  const price = (name, label, hint, value) => ({ name, group: "price", label, hint, value,
    low: value / 1e3, high: value * 1e3, assumed: true, isPower });
  const limit = (name, label, hint, value, low, high) => ({ name, group: "limits", label, hint,
    low: Math.min(low, value || low), high: Math.max(high, value || high), none: true, value });
  const money = (name, label, hint, value) => ({ name, group: "budget", label, hint, value,
    low: value / 1e3, high: value * 1e3, isPower });
  return [
    ...(split ? [
      money("train_budget", `Budget to train, ${unitName}`, "for the model, once", budget.train),
      money("inference_budget", `Budget to answer, ${unitName}`, "for one question",
        budget.inference),
    ] : [money("budget", `Budget, ${unitName}`, "in all, to train and to answer", budget.total)]),
    ...(split ? [] : [{ name: "questions", group: "demand", label: "Questions Q",
      hint: "to be answered, all in all", value: demand.questions,
      low: measured && !few ? costs.proportional_from : 1, high: 1e12, why: few }]),
    { name: "tokens", group: "demand", label: "Output tokens T", hint: "of one sample",
      value: demand.output_tokens, low: 1, high: 1e5, why: fixedFor },
    { name: "prompt_tokens", group: "demand", label: "Prompt tokens P",
      hint: "read once for all samples of a question", value: demand.prompt_tokens, low: 1,
      high: 1e6, zero: true, why: fixedFor },
    limit("max_k", "Most samples k", "a question may get", limits.max_k, 1, 1e6),
    limit("max_tokens", "Most training tokens D", "that there are", limits.max_tokens,
      fit.D_range[0], fit.D_range[1] * MOST),
    limit("max_size", "Largest model N", "parameters", limits.max_size,
      fit.N_range[0] / 10, fit.N_range[1] * MOST),
    ...(measured ? [
      limit("max_latency", "Longest wait, seconds", "for a question served alone",
        limits.max_latency_seconds, 1e-3, 1e5),
      limit("max_memory", "Most memory, bytes", "to serve in", limits.max_memory_bytes, 1e6, 1e14),
    ] : []),
    ...(unit === "usd" ? [] : unit === "joules" ? [
      price("usd_per_kwh", "USD for a kilowatt-hour", "an assumption: put in yours", 0.15),
    ] : [
      price("usd_per_hour", "USD for an hour of the machine", "an assumption: put in yours", 2),
    ]),
    ...(unit === "flops" ? [price("flops_per_second", "FLOP/s that it achieves",
      "an assumption: 40 % of a large accelerator's peak", 4e14)] : []),
  ];
}

const groupNames = {
  budget: "What may be spent", demand: "What is served", limits: "Limits",
  price: "What it costs in money",
};

function startingSettings(controls) {
  return Object.fromEntries(controls.map(({ name, value }) => [name, value ?? null]));
}

// What a number must be for a control; "" where it is so.
function wrongWith(control, value) {
  if (control.why) return `${control.label} is fixed: ${control.why}`;
  if (value === null) return control.none ? "" : `${control.label} needs a number`;
  if (value === 0 && control.zero) return "";
  const least = control.name === "max_k" ? 1 : control.name === "questions" ? control.low : 0;
  if (Number.isFinite(value) && value > 0 && value >= least) return "";
  const wanted = least ? `${show.count(least)} or more` : "a number above 0";
  return `${control.label} must be ${wanted}, such as ${show.field(control.value || control.low)}`;
}

// Settings of an address on top of those the page begins with, and what was wrong in it.
function readAddress(hash, controls) {
  const settings = startingSettings(controls), wrong = [];
  for (const [name, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
    const control = controls.find((c) => c.name === name);
    if (!control) {
      wrong.push(`the address sets ${name}, which this page does not have`);
      continue;
    }
    const value = readNumber(text);
    const problem = value === settings[name] ? "" : wrongWith(control, value);
    if (problem) wrong.push(problem);
    else settings[name] = value;
  }
  return { settings, wrong };
}

function addressOf(settings, controls) {
  const changed = controls.filter(({ name, value }) => settings[name] !== (value ?? null));
  return changed.map(({ name }) => `${name}=${settings[name] === null ? "none" : settings[name]}`)
    .join("&");
}

// The options of `t2 plan` that say the same.
function commandOf(settings, controls, limits) {
  const options = controls.filter(({ name, group, zero }) => group !== "price" &&
    settings[name] !== null && !(zero && settings[name] === 0));
  const option = (name, value) => `--${name.replaceAll("_", "-")} ${shortest(value)}`;
  const kept = ["min_size", "unique_tokens", "max_epochs"].filter((name) => limits[name]);
  const words = options.map(({ name }) => option(name, settings[name]));
  words.push(...kept.map((name) => option(name, limits[name])));
  words.push(...limits.allowed_sizes.map((N) => `--size ${shortest(N)}`));
  return `t2 plan ${words.join(" ")}`;
}

function shortest(x) {
  const plain = String(x), power = x.toExponential().replace("e+", "e");
  return power.length < plain.length ? power : plain;
}

// What a command's options are called inside the planner.
function planSettings(document, settings) {
  const split = document.budget.total === undefined;
  return {
    budget: split ? { train: settings.train_budget, inference: settings.inference_budget }
      : { total: settings.budget },
    demand: {
      questions: split ? 1 : settings.questions, output_tokens: settings.tokens,
      prompt_tokens: settings.prompt_tokens,
    },
    limits: {
      ...document.limits, max_k: settings.max_k, max_tokens: settings.max_tokens,
      max_size: settings.max_size, max_latency_seconds: settings.max_latency ?? null,
      max_memory_bytes: settings.max_memory ?? null,
    },
  };
}

// Money of a cost in the page's unit.
function moneyOf(cost, unit, settings) {
  if (unit === "usd") return cost;
  if (unit === "joules") return cost / 3.6e6 * settings.usd_per_kwh;
  const seconds = unit === "flops" ? cost / settings.flops_per_second : cost;
  return seconds / 3600 * settings.usd_per_hour;
}
