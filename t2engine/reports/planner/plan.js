// A budget and a demand become a plan beside the compute-optimal one, as t2engine/plan/optimizer.py
// and warnings.py: the same numbers and the same sentences as `t2 plan`.

const SEARCH_REACH = 1e3; // N is searched this far below and above the models observed

function planBudget(problem, prices, demand) {
  const { law, limits } = problem, baseline = computeOptimal(problem);
  refuseLessThanOne(baseline);
  const [best, ...others] = optima(problem, prices, demand, baseline.N);
  refuseLessThanOne(best);
  const held = baseline.clipped ? ["the compute-optimal model is too large for the inference " +
    "budget: N was lowered until one sample fits"] : [];
  const optimal = planOf(problem, baseline, held);
  const merit = law.merit(best.N, best.D, best.k), ratio = budgetRatio(problem, merit);
  const warnings = [], heldBack = merit < baseline.merit - SAME_MERIT * Math.abs(merit);
  if (ratio === null) {
    warnings.push("the compute-optimal plan does not reach this pass@k at 1,000,000 times the " +
      "budget: no saving can be stated");
  }
  if (limits.any) {
    warnings.push("the limits do not hold for the compute-optimal plan and the saving");
    if (heldBack) {
      warnings.push("the compute-optimal plan without limits predicts more than they allow");
    }
  }
  if (others.length) {
    const places = others.map((x) => `N = ${show.count(x.N)} with k = ${show.count(x.k)}`);
    warnings.push(`other optima predict the same pass@k: ${places.join(", ")}`);
  }
  return {
    t2: best, compute_optimal: optimal, ties: others, budget_ratio: ratio,
    saving: ratio === null ? null : 1 - 1 / ratio, warnings,
    held_back: limits.any && heldBack, // the limits keep T2 below the compute-optimal plan
  };
}

// The best plan alone, as a frontier and a band need it.
function bestPlan(problem, prices, demand, range, coarse) {
  const { law, limits, budget } = problem;
  if (law.name === "approach1" && prices.kind === "formula" && !limits.any) {
    return [closedForm(law, prices, budget, demand), []];
  }
  const [lowN, highN] = limits.within(...range);
  const [best, ...others] = search(problem, [lowN, highN], coarse);
  return [best, others, lowN, highN];
}

function optima(problem, prices, demand, baselineN) {
  const { limits, law, cost } = problem;
  const range = searchRange(law.fit, baselineN);
  const [best, others, lowN, highN] = bestPlan(problem, prices, demand, range, false);
  return [best, ...others].map((x) => {
    const at = cost.at(x.N), said = [];
    const atLimit = limits.allowed.length ||
      [limits.low, limits.high].some((end) => end && Math.abs(x.N / end - 1) < 1e-5);
    if (x.clipped && !(limits.any && limits.mostSamples(at) < 1 + 1e-5)) {
      said.push("the law would draw less than one sample per question: k is held at 1");
    }
    for (const edge of x.edges || []) {
      if (edge === "N" && atLimit) continue;
      said.push(edge === "N"
        ? `N lies on the edge of the range searched, ${show.count(lowN)} to ` +
          `${show.count(highN)}: the law has no optimum inside it`
        : "nearly the whole budget goes to samples: the law has no optimum in between");
    }
    return planOf(problem, x, said.concat(limits.any ? bindingOf(limits, at, x) : []));
  });
}

function searchRange(fit, baselineN) {
  const [low, high] = fit ? fit.N_range : [baselineN, baselineN];
  return [Math.max(Math.min(low, baselineN) / SEARCH_REACH, 1),
    Math.max(high, baselineN) * SEARCH_REACH];
}

function refuseLessThanOne({ N, D }) {
  if (N >= 1 && D >= 1) return;
  throw new TooSmall("the budget is too small: the plan comes out below one parameter or one " +
    "training token");
}

function planOf(problem, { N, D, k }, said) {
  const at = problem.cost.at(N), train = at.train(D), inference = at.serve(k);
  return {
    N, D, k, tokens_per_parameter: D / N, pass_at_k: problem.law.pass(N, D, k),
    train_cost: train, inference_cost: inference, total_cost: train + inference,
    warnings: [...said, ...unspentOf(problem.budget, train, inference),
      ...outsideOf(problem.law.fit, { N, D, k })],
  };
}

function unspentOf(budget, train, inference) {
  const pairs = budget.total === undefined
    ? [["training ", train, budget.train], ["inference ", inference, budget.inference]]
    : [["", train + inference, budget.total]];
  return pairs.filter(([, spent, given]) => spent < given * (1 - 1e-4)).map(
    ([name, spent, given]) => `${show.percent(1 - spent / given)} of the ${name}budget ` +
      "stays unspent");
}

// One sentence for each of N, D and k outside the range of the data, with the factor.
function outsideOf(fit, plan) {
  if (!fit) return [];
  const names = {
    N: ["parameters", "model observed"], D: ["training tokens", "token count observed"],
    k: ["samples per question", "k the law was fitted on"],
  };
  return Object.entries(names).map(([name, [unit, what]]) => {
    const value = plan[name], [low, high] = fit[`${name}_range`], slack = 1 + 1e-9;
    const above = value > high * slack;
    if (!above && value >= low / slack) return "";
    const factor = show.count(above ? value / high : low / value), end = above ? high : low;
    return `${name} = ${show.count(value)} ${unit} is ${factor} times ` +
      `${above ? "above the largest" : "below the smallest"} ${what} (${show.count(end)}): ` +
      "the law extrapolates";
  }).filter(Boolean);
}

// A sentence for each limit that the plan lies on.
function bindingOf(limits, at, { N, D, k }) {
  const said = [], unique = limits.unique_tokens;
  if (limits.mostTokens <= D * (1 + BINDS)) {
    const epochs = unique ? `, ${show.count(D / unique)} epochs` : "";
    said.push(`the data wall holds D at ${show.count(D)} tokens${epochs}`);
  }
  if (unique && unique < D * (1 - BINDS)) {
    said.push("tokens are repeated, and counted as if each time they were new");
  }
  if (limits.max_k && limits.max_k <= k * (1 + BINDS)) {
    said.push(`the limit on samples holds k at ${show.count(limits.max_k)}`);
  }
  const latency = limits.max_latency_seconds, memory = limits.max_memory_bytes;
  if (latency && at.samplesWithin(latency) <= k * (1 + BINDS)) {
    said.push(`the limit of ${show.count(latency)} s for a question holds k at ${show.count(k)}`);
  }
  if (memory && memory <= at.memory(k) * 1.01) {
    said.push(`the limit of ${show.count(memory)} bytes of memory binds`);
  }
  if (limits.allowed.length) {
    return [...said, `N is one of ${limits.allowed.length} sizes that are allowed`];
  }
  if (limits.low >= N * (1 - BINDS)) {
    said.push(`the limit on size holds N at no less than ${show.count(limits.low)}`);
  }
  if (limits.high <= N * (1 + BINDS)) {
    said.push(`the limit on size holds N at no more than ${show.count(limits.high)}`);
  }
  return said;
}
