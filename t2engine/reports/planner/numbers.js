// Numbers as a person reads and types them, as t2engine/reports/plan_table.py and units.py.

const LETTERS = [[1e12, "T"], [1e9, "B"], [1e6, "M"]];
const DURATIONS = [[86400, "days"], [3600, "h"], [60, "min"]];
const SHORT_TIMES = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]];
const SCALES = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
const SUFFIXES = { k: 1e3, m: 1e6, b: 1e9, g: 1e9, t: 1e12 };

const grouped = (x) => x.toLocaleString("en-US", { maximumFractionDigits: 20 });
const round3 = (x) => Number(x.toPrecision(3));

// 1.23 × 10¹⁵
function power(x) {
  const [mantissa, exponent] = x.toExponential(2).split("e");
  const raised = [...String(Number(exponent))].map((c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);
  const digits = String(Number(mantissa));
  return digits === "1" ? `10${raised.join("")}` : `${digits} × 10${raised.join("")}`;
}

// Three digits: 1,230 or 12.3 or 0.123
function digits(x) {
  if (x === 0 || !Number.isFinite(x)) return String(x);
  const rounded = round3(x), size = Math.abs(rounded);
  if (size >= 100) return grouped(rounded);
  return rounded.toFixed(clamp(2 - Math.floor(Math.log10(size)), 0, 12));
}

const show = {
  digits,
  power,

  // 29,500 or 283M
  count(x) {
    if (x === null || !Number.isFinite(x)) return "none";
    if (x < 1e6) return x !== 0 && x < 1e-3 ? power(x) : grouped(round3(x));
    const found = LETTERS.find(([scale]) => scale <= x && x < 1000 * scale);
    return found ? `${round3(x / found[0])}${found[1]}` : power(x);
  },

  // 6.3 %, 16 %, and 99.92 %: as many digits as tell it from 100 %
  percent(share) {
    const percent = 100 * share, short = 100 - percent;
    if (percent >= 99 && short > 1e-9) {
      return `${percent.toFixed(clamp(-Math.floor(Math.log10(short)), 2, 9))} %`;
    }
    if (percent > 0 && percent < 0.1) return `${round3(percent)} %`;
    return `${Math.abs(percent) < 9.95 ? percent.toFixed(1) : Math.round(percent)} %`;
  },

  // 24.31 %, 99.92 %
  pass(p) {
    if (1 - p < 1e-6) return "over 99.9999 %";
    if (p > 0.99) return show.percent(p);
    return p > 0 && p < 1e-6 ? `${power(100 * p)} %` : `${Number((100 * p).toPrecision(4))} %`;
  },

  seconds(x) {
    const long = DURATIONS.find(([length]) => x >= 2 * length);
    if (long) return `${digits(x / long[0])} ${long[1]}`;
    const [scale, unit] = SHORT_TIMES.find(([size]) => round3(x) >= size) || SHORT_TIMES[3];
    return `${digits(x / scale)} ${unit}`;
  },

  money(x) {
    if (x >= 1e6) return `${show.count(x)} USD`;
    return x > 0 && x < 1e-4 ? `${power(x)} USD` : `${digits(x)} USD`;
  },

  // A cost in its unit: 5.3 × 10¹⁴ FLOPs, 3.2 h, 0.42 USD, 12.3 kJ
  amount(x, unit) {
    if (unit === "flops") return `${power(x)} FLOPs`;
    if (unit === "seconds") return show.seconds(x);
    if (unit === "usd") return show.money(x);
    const scale = SCALES.find(([size]) => x >= size);
    return scale ? `${digits(x / scale[0])} ${scale[1]}J` : `${digits(x)} J`;
  },

  // For the end of an axis: 10k, 1M, 10¹⁴
  tick(x) {
    if (x >= 1e3 && x < 1e15) {
      const [scale, letter] = [...LETTERS, [1e3, "k"]].find(([size]) => x >= size * (1 - 1e-9));
      return `${round3(x / scale)}${letter}`;
    }
    return x < 1e-3 || x >= 1e15 ? power(x) : String(round3(x));
  },

  // What an input holds: short, and read back as the same number to four digits
  field(x, isPower) {
    if (x === null) return "none";
    if (x === 0) return "0";
    const four = Number(x.toPrecision(4));
    if (four >= (isPower ? 1e5 : 1e15) || four < 1e-3) {
      return four.toExponential().replace("e+", "e");
    }
    const scale = LETTERS.find(([size]) => four >= size);
    return scale ? `${Number((four / scale[0]).toPrecision(4))}${scale[1]}` : grouped(four);
  },
};

// "1e15", "1,000", "2.5M", "none"; NaN for anything else.
function readNumber(text) {
  const cleaned = text.trim().replaceAll(",", "").replaceAll(" ", "").toLowerCase();
  if (cleaned === "none" || cleaned === "") return null;
  const scale = SUFFIXES[cleaned[cleaned.length - 1]];
  return scale ? Number(cleaned.slice(0, -1) || NaN) * scale : Number(cleaned);
}
