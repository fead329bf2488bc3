// What a budget buys at every N, as t2engine/plan/problem.py and limits.py.

const BINDS = 1e-6; // relative distance at which a plan lies on a limit

class TooSmall extends Error {}

const orInfinite = (x) => (x === null || x === undefined ? Infinity : x);

function limitsOf(given) {
  const low = given.min_size || 0, high = orInfinite(given.max_size);
  const repeated = given.unique_tokens ? given.unique_tokens * (given.max_epochs || 1) : Infinity;
  const sizes = [...new Set(given.allowed_sizes)].sort((x, y) => x - y);
  const allowed = sizes.filter((N) => low <= N && N <= high);
  if (low > high || (sizes.length && !allowed.length)) {
    throw new TooSmall(`no model size is left: the limits allow ${show.count(low)} to ` +
      `${show.count(high)} parameters${sizes.length ? ", and none of the sizes named" : ""}`);
  }
  const any = sizes.length > 0 || Object.entries(given).some(
    ([name, x]) => name !== "allowed_sizes" && x !== null && x !== undefined);
  return {
    ...given, low, high, allowed, any,
    mostTokens: Math.min(repeated, orInfinite(given.max_tokens)),
    mostSamples(at) {
      const most = orInfinite(given.max_k);
      if (!given.max_latency_seconds) return most;
      return Math.min(most, at.samplesWithin(given.max_latency_seconds));
    },
    // The allowed part of a range of N; where there is none, as wide a range that is.
    within(from, to) {
      if (low > to) return [low, Math.min(high, low * to / from)];
      if (high < from) return [Math.max(low, high * from / to), high];
      return [Math.max(from, low), Math.min(to, high)];
    },
  };
}

class Problem {
  // budget: {total}, or {train, inference}
  constructor(law, cost, budget, limits) {
    Object.assign(this, { law, cost, budget, limits, split: budget.total === undefined });
  }

  scaled(factor) {
    const entries = Object.entries(this.budget).map(([name, x]) => [name, x * factor]);
    return new Problem(this.law, this.cost, Object.fromEntries(entries), this.limits);
  }

  // D and k when the budget is spent at N; `extra` is the share of what one sample for every
  // question leaves that buys further samples. With two budgets it has no effect.
  planAt(at, extra) {
    const { limits, budget } = this;
    if (this.split) {
      const D = at.tokensFor(budget.train), k = at.samplesFor(budget.inference);
      if (!limits.any) return [D, k];
      return [Math.min(D, limits.mostTokens), Math.min(k, limits.mostSamples(at))];
    }
    const one = at.serve(1), left = Math.max(budget.total - one, 0);
    const k = extra === 0 ? 1 : at.samplesFor(one + extra * left);
    const D = at.tokensFor((1 - extra) * left);
    return limits.any ? this.limited(at, D, k) : [D, k];
  }

  // What a limit on D or k leaves is spent on the other.
  limited(at, D, k) {
    const mostK = this.limits.mostSamples(at), mostD = this.limits.mostTokens;
    const total = this.budget.total;
    if (k > mostK) {
      k = mostK;
      D = at.tokensFor(Math.max(total - at.serve(Math.max(k, 1)), 0));
    }
    if (!(mostD < D)) return [D, k];
    const more = at.samplesFor(Math.max(total - at.train(mostD), 0));
    return [mostD, Math.min(more, mostK)];
  }

  meritAt(at, N, extra) {
    const [D, k] = this.planAt(at, extra);
    if (!(D >= 1 && k >= 1)) return -Infinity;
    const most = this.limits.max_memory_bytes;
    if (most && at.memory(k) > most) return -Infinity;
    return this.law.merit(N, D, k);
  }
}
