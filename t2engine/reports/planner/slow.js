// What takes longer than a slider's step: the frontier, and the plans of all refitted laws.

const FRONTIER_POINTS = 33, SLICE_MILLISECONDS = 16;

// Runs a generator in slices, so that sliders stay quick; a newer one ends an older.
class Slices {
  constructor(window) {
    Object.assign(this, { window, latest: 0 });
  }

  run(steps) {
    const mine = ++this.latest, { performance } = this.window;
    const slice = () => {
      if (mine !== this.latest) return;
      for (const until = performance.now() + SLICE_MILLISECONDS; performance.now() < until;) {
        if (steps.next().done) return;
      }
      this.window.setTimeout(slice, 0);
    };
    slice();
  }

  stop() {
    this.latest++;
  }
}

// What a frontier depends on: all that a plan does but the budget, of two their ratio.
function frontierKey({ budget, demand, limits }) {
  return JSON.stringify([demand, limits, budget.total ? 0 : budget.train / budget.inference]);
}

// Multiples of the budget over the range of its slider.
function frontierFactors({ low, high }, now) {
  return spaced(Math.log(low / now), Math.log(high / now), FRONTIER_POINTS).map(Math.exp);
}

// null where the budget is too small.
function frontierPoint({ problem, demand, bands, document }, factor) {
  const scaled = problem.scaled(factor), { law } = problem;
  try {
    const optimal = computeOptimal(scaled), range = searchRange(law.fit, optimal.N);
    const [best] = bestPlan(scaled, document.costs, demand, range, true);
    if (!(best.N >= 1 && best.D >= 1)) return null;
    const t2 = law.pass(best.N, best.D, best.k);
    return {
      budget: scaled.budget.total || scaled.budget.train, t2,
      chinchilla: law.pass(optimal.N, Math.max(optimal.D, 1), optimal.k),
      band: bands && bands.passBand({ ...best, pass_at_k: t2 }),
    };
  } catch (error) {
    if (error instanceof TooSmall) return null;
    throw error;
  }
}
