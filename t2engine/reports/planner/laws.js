// The scaling laws: pass@k from N parameters, D training tokens and k samples per question.
// The formulas of t2engine/laws: gamma.py, chinchilla.py, approach1.py, approach2.py, counts.py.

const LIFT = 10; // Stirling's series is exact to 1e-17 from here on
const STIRLING = [1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156];
const FAINTEST = -60; // ln s below this is a chance of exp(-60)
const MEAN_MARGIN = 1e-12; // a mean success stays this far inside (0, 1)

const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

// ln(1 + exp(x))
function softplus(x) {
  return x > 0 ? x + Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x));
}

// Stirling's tail of ln gamma at x minus that at x + a, with a factored out.
function seriesDrop(x, a) {
  const u = 1 / x, v = 1 / (x + a);
  let value = 0, divided = 0;
  for (let m = STIRLING.length - 1; m >= 0; m--) {
    divided = divided * v + value;
    value = value * u + STIRLING[m];
    divided = divided * v + value;
    value = value * u;
  }
  return divided * (a * u * v);
}

// ln B(a, b + k) / B(a, b): the log-probability that k samples all fail.
function logBetaRatio(a, b, k) {
  let lifted = 0;
  for (let j = 0; j < LIFT; j++) {
    const z = a * k / ((b + j) * (b + j + a + k));
    lifted += z + lifted * z;
  }
  const c = b + LIFT;
  const leading = (c - 0.5) * Math.log1p(a * k / (c * (c + a + k))) -
    k * Math.log1p(a / (c + k)) - a * Math.log1p(k / (a + c));
  return leading + seriesDrop(c + k, a) - seriesDrop(c, a) - Math.log1p(lifted);
}

function chinchilla(parameters) {
  const { E, A, alpha, B, beta } = parameters;
  return { E, A, alpha, B, beta, loss: (N, D) => E + A * N ** -alpha + B * D ** -beta };
}

function approach1(document) {
  const { G, gamma } = document.parameters, training = chinchilla(document.parameters);
  return {
    training, G, gamma,
    merit: (N, D, k) => -(training.loss(N, D) + G * k ** -gamma),
    passOf: Math.exp,
  };
}

function approach2(document) {
  const { theta0, theta1, theta2, theta3, theta4 } = document.parameters;
  const training = chinchilla(document.training.parameters);
  return {
    training,
    merit(N, D, k) {
      const loss = training.loss(N, D);
      const logistic = Math.exp(-softplus(theta1 * (loss - theta0)));
      const mean = clamp(theta2 * logistic, MEAN_MARGIN, 1 - MEAN_MARGIN);
      const concentration = Math.exp(clamp(theta3 + theta4 * loss, -20, 20));
      return -logBetaRatio(mean * concentration, (1 - mean) * concentration, k);
    },
    passOf: (merit) => -Math.expm1(-merit),
  };
}

function counts(document) {
  const { top, ceiling, spread, kappa, bend } = document.parameters;
  const training = chinchilla(document.training.parameters);
  const ability = (N, D) => top - training.loss(N, D) ** (1 / bend);
  function meritAtAbility(eta, k) {
    const logS = Math.max(-softplus(-eta), FAINTEST);
    const mean = Math.min(ceiling * Math.exp(logS), 1 - MEAN_MARGIN);
    const concentration = spread * Math.exp(kappa * logS);
    return -logBetaRatio(mean * concentration, (1 - mean) * concentration, k);
  }
  return {
    training, ability, meritAtAbility,
    merit: (N, D, k) => meritAtAbility(ability(N, D), k),
    passOf: (merit) => -Math.expm1(-merit),
  };
}

// `merit` rises with pass@k, and goes on rising where pass@k has rounded to 1.
function lawOf(document) {
  const law = { approach1, approach2, counts }[document.law](document);
  law.name = document.law;
  law.fit = document.fit || null;
  law.pass = (N, D, k) => law.passOf(law.merit(N, D, k));
  return law;
}
