// The page: settings in, an answer at once, and what takes longer after it.

const FRONTIER_POINTS = 33;

function startPage(root, document, window) {
  const find = (id) => root.getElementById(id);
  const controls = controlsOf(document), law = lawOf(document.law);
  const bands = bandsOf(document.bands, law);
  let settings = startingSettings(controls), view = null, work = 0, frontierOf = "";

  function problemOf(given) {
    const { budget, demand, limits } = planSettings(document, given);
    const cost = costOf(document.costs, demand);
    return [new Problem(law, cost, budget, limitsOf(limits)), demand];
  }

  function update() {
    showSettings(root, controls, settings);
    find("command").textContent = commandOf(settings, controls, document.limits);
    try {
      const [problem, demand] = problemOf(settings);
      const plan = planBudget(problem, document.costs, demand);
      const kept = view && frontierOf === shapeOf(settings) ? view.frontier : { points: [] };
      view = { document, settings, problem, demand, plan, bands, moved: null, refits: [],
        frontier: kept };
    } catch (error) {
      if (!(error instanceof TooSmall)) throw error;
      window.t2state = { settings: { ...settings }, error: error.message, settled: true };
      refuse(`No plan: ${error.message}. Move a slider.`);
      root.body.classList.add("stale");
      work++;
      return;
    }
    root.body.classList.remove("stale");
    report(false);
    showAnswer();
    later(slowParts(view));
  }

  // What a frontier depends on: all settings but the budget itself.
  function shapeOf({ budget, train_budget: train, inference_budget: inference, ...rest }) {
    return JSON.stringify([rest, train === undefined ? 0 : train / inference]);
  }

  function report(settled) {
    const { plan, moved } = view;
    const passed = bands && { pass_at_k: bands.passBand(plan.t2) };
    window.t2state = { settings: { ...settings }, ...plan, bands: moved || passed, settled,
      frontier: view.frontier.points, error: null };
  }

  function showAnswer() {
    find("headline").innerHTML = headlineOf(view);
    find("tiles").innerHTML = tilesOf(view);
    find("bar").innerHTML = barOf(view);
    find("table").innerHTML = tableOf(view);
    find("warnings").innerHTML = warningsOf(view);
    find("spreads").textContent = spreadWords(document, addressOf(settings, controls) === "");
    drawAll();
  }

  function drawAll() {
    for (const [id, figure] of [["frontier", frontierFigure], ["map", mapFigure],
      ["curve", curveFigure]]) {
      const place = find(id), drawn = figure(view, Math.max(place.clientWidth, 260));
      place.innerHTML = drawn.svg || drawn;
      if (drawn.svg) view.map = drawn;
    }
  }

  // Runs a generator in slices, so that sliders stay quick; a newer call ends an older one.
  function later(steps) {
    const mine = ++work;
    (function slice() {
      if (mine !== work) return;
      for (const until = window.performance.now() + 16; window.performance.now() < until;) {
        if (steps.next().done) return;
      }
      window.setTimeout(slice, 0);
    })();
  }

  function* slowParts(mine) {
    if (!mine.frontier.points.length) {
      say("the frontier is being drawn");
      yield;
      const points = [];
      for (const factor of factors()) {
        const point = frontierPoint(mine, factor);
        if (point) points.push(point);
        yield;
      }
      mine.frontier = { points };
      frontierOf = shapeOf(mine.settings);
      drawAll();
      yield;
    }
    const plans = [];
    for (const refit of bands ? bands.laws : []) {
      plans.push(replan(mine.problem, refit, document.costs, mine.demand, mine.plan.t2.N));
      if (plans.length % 5 === 0) say(`bands are being updated: ${plans.length} of ${bands.laws.length}`);
      yield;
    }
    if (bands) {
      mine.moved = bands.planBands(mine.plan.t2, plans);
      mine.refits = plans;
    }
    say("");
    report(true);
    showAnswer();
  }

  function factors() {
    const { low, high } = controls[0], now = settings[controls[0].name];
    return spaced(Math.log(low / now), Math.log(high / now), FRONTIER_POINTS).map(Math.exp);
  }

  function frontierPoint(mine, factor) {
    const problem = mine.problem.scaled(factor);
    try {
      const optimal = computeOptimal(problem);
      const range = searchRange(law.fit, optimal.N);
      const [best] = bestPlan(problem, document.costs, mine.demand, range, true);
      const t2 = law.pass(best.N, best.D, best.k);
      const band = bands && bands.passBand({ ...best, pass_at_k: t2 });
      const budget = problem.budget.total || problem.budget.train;
      if (!(best.N >= 1 && best.D >= 1)) return null;
      return { budget, t2, chinchilla: law.pass(optimal.N, Math.max(optimal.D, 1), optimal.k), band };
    } catch (error) {
      if (error instanceof TooSmall) return null;
      throw error;
    }
  }

  const say = (text) => { find("progress").textContent = text; };
  const refuse = (text) => { find("refused").textContent = text; };

  function readHash() {
    const { settings: given, wrong } = readAddress(window.location.hash, controls);
    settings = given;
    refuse("");
    update();
    if (wrong.length) refuse(`${wrong.join("; ")}.`);
  }

  function keepAddress() {
    const address = addressOf(settings, controls);
    window.history.replaceState(null, "", `#${address}`);
  }

  find("controls").innerHTML = controlsHtml(controls, window.innerWidth >= 980);
  find("subject").textContent = subjectOf(document);
  find("held").innerHTML = heldWords(document);
  listen(root, controls, {
    changed(name, value) {
      settings = { ...settings, [name]: value };
      refuse("");
      update();
    },
    refused: refuse,
  });
  find("controls").addEventListener("change", keepAddress);
  find("reset").addEventListener("click", () => {
    settings = startingSettings(controls);
    keepAddress();
    refuse("");
    update();
  });
  find("map").addEventListener("pointermove", (event) => readMap(event, view, find));
  window.addEventListener("hashchange", readHash);
  window.addEventListener("resize", () => view && drawAll());
  readHash();
}

// What lies under the pointer of the iso-cost picture.
function readMap(event, view, find) {
  if (!view || !view.map) return;
  const { left, width } = find("map").getBoundingClientRect(), { x, y } = view.map;
  const top = find("map").getBoundingClientRect().top, stretch = (x.to + MARGIN.right) / width;
  const N = 10 ** x.invert((event.clientX - left) * stretch);
  const D = N * 10 ** y.invert((event.clientY - top) * stretch);
  const found = D >= 1 && D <= mostTokensAt(view.problem, N) && leftFor(view.problem, N, D);
  find("under").textContent = `N ${show.count(N)}, D ${show.count(D)}, D/N ${show.count(D / N)}: ` +
    (found ? `k ${show.count(found.k)}, pass@k ${show.pass(view.problem.law.passOf(found.merit))}`
      : "not within the budget and the limits");
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

startPage(document, JSON.parse(document.getElementById("plan-data").textContent), window);
