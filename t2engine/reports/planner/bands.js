// How far a plan would move if other models had been measured, as t2engine/plan/bands.py and
// laws/counts_bands.py: every refitted law is planned with again.

function quantile(sorted, share) {
  const at = share * (sorted.length - 1), low = Math.floor(at);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (at - low) * (sorted[high] - sorted[low]);
}

function ends(values, level) {
  const sorted = Float64Array.from(values).sort();
  return [quantile(sorted, (1 - level) / 2), quantile(sorted, (1 + level) / 2)];
}

// document: {level, source, laws: [...], counts: {...} or null}; null where none were drawn.
function bandsOf(document, law) {
  if (!document) return null;
  const laws = document.laws.map((x) => ({ ...lawOf(x), fit: null }));
  const draw = document.counts ? countsDraws(document.counts, law, laws)
    : (N, D, k) => laws.map((x) => x.pass(N, D, k));
  return {
    laws, level: document.level, source: document.source,
    // Where pass@k may lie, widened to hold the law's own prediction.
    passBand({ N, D, k, pass_at_k }) {
      const [low, high] = ends(draw(N, D, k), document.level);
      return [Math.min(low, pass_at_k), Math.max(high, pass_at_k)];
    },
    planBands(plan, plans) {
      const over = (value) => ends(plans.map(value), document.level);
      return {
        N: over((x) => x.N), D: over((x) => x.D), k: over((x) => x.k),
        tokens_per_parameter: over((x) => x.D / x.N), pass_at_k: this.passBand(plan),
      };
    },
  };
}

// A new checkpoint deviates as one of those whose predicted ability is nearest to its own.
function countsDraws({ ability, deviation, rest, rest_k, chosen, nearest }, law, laws) {
  const logKnown = rest_k.map(Math.log);
  return function draw(N, D, k) {
    const own = law.ability(N, D), place = placeOf(logKnown, logKnown.length, Math.log(k));
    const cell = { above: place.above, share: clamp(place.share, 0, 1) };
    const near = ability.map((x, i) => [Math.abs(x - own), i])
      .sort((x, y) => x[0] - y[0] || x[1] - y[1]).slice(0, nearest).map((pair) => pair[1]);
    return laws.flatMap((refit, row) => {
      const eta = refit.ability(N, D);
      return chosen[row].map((i) => {
        const m = near[i], merit = refit.meritAtAbility(eta + deviation[m], k);
        return clamp(refit.passOf(merit) + between(rest[m], cell), 0, 1);
      });
    });
  };
}

function replan(problem, refit, prices, demand, around) {
  const other = new Problem(refit, problem.cost, problem.budget, problem.limits);
  const range = [Math.max(around / SEARCH_REACH, 1), around * SEARCH_REACH];
  return bestPlan(other, prices, demand, range, false)[0];
}
