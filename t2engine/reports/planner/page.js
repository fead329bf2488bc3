// The page: settings in, an answer at once, and what takes longer after it.

const WIDE = 980; // pixels from which on sliders stand beside the answer

class PlannerPage {
  constructor(root, document, window) {
    const controls = controlsOf(document), law = lawOf(document.law);
    Object.assign(this, {
      root, document, window, controls, law, bands: bandsOf(document.bands, law), view: null,
      slices: new Slices(window), settings: startingSettings(controls),
    });
    this.find("controls").innerHTML = controlsHtml(controls, window.innerWidth >= WIDE);
    this.find("subject").textContent = subjectOf(document);
    this.find("held").textContent = heldWords(document);
    this.root.body.classList.toggle("no-bands", !document.bands);
    this.root.body.classList.toggle("no-checkpoints", !document.checkpoints);
    this.listen();
    this.readAddress();
  }

  find(name) {
    return this.root.getElementById(name);
  }

  refuse(text) {
    this.find("refused").textContent = text;
  }

  listen() {
    listen(this.root, this.controls, {
      changed: (name, value) => this.change({ ...this.settings, [name]: value }),
      refused: (text) => this.refuse(text),
    });
    this.find("controls").addEventListener("change", () => this.keepAddress());
    this.find("reset").addEventListener("click", () => {
      this.change(startingSettings(this.controls));
      this.keepAddress();
    });
    this.find("map").addEventListener("pointermove", (event) => {
      if (this.view) this.find("under").textContent = underPointer(event, this.view);
    });
    this.window.addEventListener("hashchange", () => this.readAddress());
    this.window.addEventListener("resize", () => this.view && this.draw());
  }

  readAddress() {
    const { settings, wrong } = readAddress(this.window.location.hash, this.controls);
    this.change(settings);
    if (wrong.length) this.refuse(`${wrong.join("; ")}.`);
  }

  keepAddress() {
    const address = addressOf(this.settings, this.controls);
    this.window.history.replaceState(null, "", `#${address}`);
  }

  // New settings: the plan at once, pictures and bands a moment later.
  change(settings) {
    this.settings = settings;
    this.refuse("");
    showSettings(this.root, this.controls, settings);
    this.find("command").textContent = commandOf(settings, this.controls, this.document.limits);
    this.slices.stop();
    try {
      this.view = this.viewOf(settings);
    } catch (error) {
      if (!(error instanceof TooSmall)) throw error;
      this.window.t2state = { settings: { ...settings }, error: error.message, settled: true };
      this.refuse(`No plan: ${error.message}. Move a slider.`);
      this.root.body.classList.add("stale");
      return;
    }
    this.root.body.classList.remove("stale");
    this.showAnswer(false);
    this.slices.run(this.slowParts(this.view));
  }

  // Settings with all that is shown of them. What is slow to find again stays until it is found.
  viewOf(settings) {
    const { document, controls, law, bands, view } = this, given = planSettings(document, settings);
    const cost = costOf(document.costs, given.demand), key = frontierKey(given);
    const problem = new Problem(law, cost, given.budget, limitsOf(given.limits));
    const frontier = view ? view.frontier : { points: [] };
    return {
      document, controls, settings, bands, problem, demand: given.demand, key,
      plan: planBudget(problem, document.costs, given.demand),
      frontier: { ...frontier, stale: frontier.key !== key },
      moved: null, refits: view ? view.refits : [],
    };
  }

  * slowParts(view) {
    this.draw();
    yield;
    if (view.frontier.stale) {
      this.say("the frontier is being drawn");
      const points = [], [budget] = this.controls;
      for (const factor of frontierFactors(budget, view.settings[budget.name])) {
        points.push(frontierPoint(view, factor));
        yield;
      }
      view.frontier = { points: points.filter(Boolean), key: view.key, stale: false };
      this.draw();
      yield;
    }
    const plans = [], { bands, problem, demand, plan } = view;
    for (const refit of bands ? bands.laws : []) {
      plans.push(replan(problem, refit, view.document.costs, demand, plan.t2.N));
      this.say(`bands are being updated: ${plans.length} of ${bands.laws.length}`);
      yield;
    }
    if (bands) Object.assign(view, { moved: bands.planBands(plan.t2, plans), refits: plans });
    this.say("");
    this.showAnswer(true);
    this.draw();
  }

  say(text) {
    this.find("progress").textContent = text;
  }

  // `settled`: nothing is still being computed.
  showAnswer(settled) {
    const { view } = this, { plan, moved, bands, settings, frontier } = view;
    const isStart = addressOf(settings, this.controls) === "";
    const parts = {
      headline: headlineOf, tiles: tilesOf, bar: barOf, table: tableOf, warnings: warningsOf,
    };
    for (const [name, part] of Object.entries(parts)) {
      this.find(name).innerHTML = part(view).replaceAll(" %", "\u00a0%"); // never on two lines
    }
    this.find("spreads").innerHTML = spreadWords(this.document, isStart);
    this.window.t2state = {
      ...plan, settings: { ...settings }, settled, frontier: frontier.points, error: null,
      bands: moved || (bands && { pass_at_k: bands.passBand(plan.t2) }),
    };
  }

  draw() {
    const width = (name) => Math.max(this.find(name).clientWidth, 260), { view } = this;
    view.map = mapFigure(view, width("map"));
    this.find("map").innerHTML = view.map.svg;
    this.find("frontier").innerHTML = frontierFigure(view, width("frontier"));
    this.find("curve").innerHTML = curveFigure(view, width("curve"));
  }
}

new PlannerPage(document, JSON.parse(document.getElementById("plan-data").textContent), window);
