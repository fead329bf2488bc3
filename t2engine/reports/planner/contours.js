// Lines of equal height on a grid, and the hull of points.

const cornersOf = (column, row) =>
  [[column, row], [column + 1, row], [column + 1, row + 1], [column, row + 1]];

// Around a cell: its corners at or above `level`, and the points where its sides cross it.
function aroundCell(field, column, row, level) {
  const corners = cornersOf(column, row), crossed = [], kept = [];
  const values = corners.map(([c, r]) => field[r][c] - level);
  for (let i = 0; i < 4; i++) {
    const j = (i + 1) % 4;
    if (values[i] >= 0) kept.push(corners[i]);
    if (values[i] >= 0 === values[j] >= 0) continue;
    const share = values[i] / (values[i] - values[j]);
    const point = [0, 1].map((d) => corners[i][d] + share * (corners[j][d] - corners[i][d]));
    crossed.push(point);
    kept.push(point);
  }
  return { crossed, kept };
}

// Segments on which a field [rows][columns] has the value `level`, in cells of the grid.
function contour(field, level) {
  const segments = [];
  for (let row = 0; row + 1 < field.length; row++) {
    for (let column = 0; column + 1 < field[row].length; column++) {
      const { crossed } = aroundCell(field, column, row, level);
      for (let i = 0; i + 1 < crossed.length; i += 2) segments.push([crossed[i], crossed[i + 1]]);
    }
  }
  return segments;
}

// Polygons that cover where the field is at least `level`, runs of whole cells in one.
function above(field, level) {
  const polygons = [];
  for (let row = 0; row + 1 < field.length; row++) {
    let from = null;
    for (let column = 0; column + 1 < field[row].length; column++) {
      const { crossed, kept } = aroundCell(field, column, row, level);
      const isWhole = kept.length === 4 && !crossed.length;
      if (isWhole && from === null) from = column;
      if (!isWhole && from !== null) {
        polygons.push([[from, row], [column, row], [column, row + 1], [from, row + 1]]);
        from = null;
      }
      if (!isWhole && kept.length > 2) polygons.push(kept);
    }
    const end = field[row].length - 1;
    if (from !== null) polygons.push([[from, row], [end, row], [end, row + 1], [from, row + 1]]);
  }
  return polygons;
}

// The convex hull of points, counter-clockwise (Andrew's monotone chain).
function hullOf(points) {
  const sorted = [...points].sort((p, q) => p[0] - q[0] || p[1] - q[1]);
  const turns = (o, p, q) => (p[0] - o[0]) * (q[1] - o[1]) - (p[1] - o[1]) * (q[0] - o[0]);
  const half = (ordered) => {
    const chain = [];
    for (const point of ordered) {
      while (chain.length > 1 && turns(...chain.slice(-2), point) <= 0) chain.pop();
      chain.push(point);
    }
    return chain.slice(0, -1);
  };
  return sorted.length < 3 ? sorted : [...half(sorted), ...half([...sorted].reverse())];
}

// Where a label crowds least: the candidate farthest from what is there already.
function roomiest(candidates, taken, { x, y }, half) {
  let best = null, most = 0;
  for (const [px, py] of candidates) {
    if (px < x.from + half || px > x.to - half || py < y.to + FONT || py > y.from - FONT) continue;
    const gap = Math.min(1e3, ...taken.map(([qx, qy]) => Math.hypot((px - qx) / 2, py - qy)));
    if (gap > most) [best, most] = [[px, py], gap];
  }
  return most > 14 ? best : null;
}
