// Axes and shapes of the pictures, as SVG text. Sizes are in CSS pixels: pictures are drawn anew
// at every width, so that letters keep their size.

const FONT = 12, LETTER = 6.6; // of labels: their height and about the width of a letter
const MARGIN = { top: 28, right: 14, bottom: 44, left: 66 };

const escapeText = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const fixed = (x) => x.toFixed(1);

// A line of values from low to high onto pixels from `from` to `to`.
function scaleOf(low, high, from, to) {
  const slope = (to - from) / (high - low);
  const scale = (x) => from + (x - low) * slope;
  return Object.assign(scale, { low, high, from, to, invert: (px) => low + (px - from) / slope });
}

// Powers of ten within [low, high] (both log10), thinned until labels have room; 1-2-5 if few.
function logTicks(low, high, most, label = show.tick) {
  const whole = [];
  for (let e = Math.ceil(low - 1e-9); e <= high + 1e-9; e++) whole.push(e);
  const step = Math.max(1, Math.ceil(whole.length / most));
  let at = whole.filter((e) => e % step === 0);
  if (whole.length < 3) {
    at = whole.concat([...whole, Math.floor(low)].flatMap((e) => [e + Math.log10(2),
      e + Math.log10(5)])).filter((x) => low - 1e-9 <= x && x <= high + 1e-9);
    at = [...new Set(at)].sort((x, y) => x - y).slice(0, most);
  }
  return at.map((x) => ({ at: x, label: label(10 ** x) }));
}

// Success on the scale of log-odds, which stretches near 0 and 100 %.
const logOdds = (p) => Math.log10(p / (1 - p));

const PASS_MARKS = [1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9,
  0.99, 0.999, 0.9999, 0.99999, 0.999999, 0.9999999, 0.99999999];

function passTicks(low, high, most) {
  let marks = PASS_MARKS.filter((p) => low - 1e-9 <= logOdds(p) && logOdds(p) <= high + 1e-9);
  if (marks.length > most) marks = marks.filter((p) => p !== 0.25 && p !== 0.75);
  const step = Math.ceil(marks.length / most);
  if (marks.length < 3) {
    const span = [0.02, 0.05, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.95, 0.98, 0.995, 0.998];
    marks = [...marks, ...span.filter((p) => low <= logOdds(p) && logOdds(p) <= high)];
    marks.sort((x, y) => x - y);
  }
  return marks.filter((_, i) => i % step === 0)
    .map((p) => ({ at: logOdds(p), label: passLabel(p) }));
}

const passLabel = (p) => `${Number((100 * p).toPrecision(10))} %`;

function line(points, kind) {
  return `<polyline class="${kind}" points="${points.map(([x, y]) =>
    `${fixed(x)},${fixed(y)}`).join(" ")}"/>`;
}

function area(points, kind) {
  return `<polygon class="${kind}" points="${points.map(([x, y]) =>
    `${fixed(x)},${fixed(y)}`).join(" ")}"/>`;
}

function words(x, y, text, kind, anchor = "start") {
  return `<text class="${kind}" x="${fixed(x)}" y="${fixed(y)}" text-anchor="${anchor}">` +
    `${escapeText(text)}</text>`;
}

// T2 is a disc, compute-optimal a triangle: told apart without colour too.
function mark(kind, x, y, title) {
  const shape = kind === "t2" ? `<circle cx="${fixed(x)}" cy="${fixed(y)}" r="6.5"/>`
    : `<path d="M${fixed(x)} ${fixed(y - 7.5)}l7.2 12.6h-14.4z"/>`;
  return `<g class="mark ${kind}">${shape}<title>${escapeText(title)}</title></g>`;
}

// The box, its grid and its ticks; `inside` is clipped to the box, `over` is not.
function picture({ id, label, width, height, x, y, xTicks, yTicks, xLabel, yLabel, inside, over }) {
  const grid = [], text = [];
  for (const { at, label: tick } of xTicks) {
    grid.push(line([[x(at), y.to], [x(at), y.from]], "grid"));
    text.push(words(x(at), y.from + 18, tick, "tick", "middle"));
  }
  for (const { at, label: tick } of yTicks) {
    grid.push(line([[x.from, y(at)], [x.to, y(at)]], "grid"));
    text.push(words(x.from - 7, y(at) + 4, tick, "tick", "end"));
  }
  text.push(words((x.from + x.to) / 2, height - 6, xLabel, "axis", "middle"));
  text.push(words(4, 14, yLabel, "axis"));
  const box = `x="${x.from}" y="${y.to}" width="${fixed(x.to - x.from)}" ` +
    `height="${fixed(y.from - y.to)}"`;
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeText(label)}">` +
    `<clipPath id="${id}-clip"><rect ${box}/></clipPath>${grid.join("")}` +
    `<g clip-path="url(#${id}-clip)">${inside}</g><rect class="frame" ${box}/>` +
    `${text.join("")}${over || ""}</svg>`;
}

function boxOf(width, share) {
  const height = Math.round(clamp(width * share, 280, 460));
  return {
    width, height,
    x: (low, high) => scaleOf(low, high, MARGIN.left, width - MARGIN.right),
    y: (low, high) => scaleOf(low, high, height - MARGIN.bottom, MARGIN.top),
    most: Math.max(3, Math.floor((width - MARGIN.left - MARGIN.right) / 62)),
  };
}
