// The closed curve through the handles of a contour, and what is asked of it. Pure functions on pixels.
// The same curve is computed in Python (labelling/curve.py); a test compares the two.

export const SAMPLES = 8; // points a span
const SHORTEST = 1e-4; // knots of handles that lie on each other still differ

const knot = (a, b) => Math.max(Math.sqrt(Math.hypot(b[0] - a[0], b[1] - a[1])), SHORTEST);

const blend = (a, b, ta, tb, t) => {
  const share = (t - ta) / (tb - ta);
  return [a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share];
};

// Points of one span of a centripetal Catmull-Rom spline, from handle `b` to just before `c`.
function span(a, b, c, d, samples) {
  const t1 = knot(a, b), t2 = t1 + knot(b, c), t3 = t2 + knot(c, d);
  const points = [b];
  for (let j = 1; j < samples; j += 1) {
    const t = t1 + (j / samples) * (t2 - t1);
    const ab = blend(a, b, 0, t1, t), bc = blend(b, c, t1, t2, t), cd = blend(c, d, t2, t3, t);
    points.push(blend(blend(ab, bc, 0, t2, t), blend(bc, cd, t1, t3, t), t1, t2, t));
  }
  return points;
}

// The curve of n handles [[x, y], ...] as n * samples points; point i * samples is handle i. Not repeated at its end.
export function curve(handles, samples = SAMPLES) {
  const n = handles.length;
  const points = [];
  for (let i = 0; i < n; i += 1) {
    points.push(...span(handles[(i + n - 1) % n], handles[i], handles[(i + 1) % n], handles[(i + 2) % n], samples));
  }
  return points;
}

// Area of a closed polygon, in square pixels.
export function area(polygon) {
  let sum = 0;
  for (let i = 0; i < polygon.length; i += 1) {
    const a = polygon[i], b = polygon[(i + 1) % polygon.length];
    sum += a[0] * b[1] - b[0] * a[1];
  }
  return Math.abs(sum) / 2;
}

// Is a point inside a closed polygon?
export function inside(polygon, x, y) {
  let found = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i, i += 1) {
    const [xi, yi] = polygon[i], [xj, yj] = polygon[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) found = !found;
  }
  return found;
}

// The place on the curve nearest to (x, y): {distance, span, point}.
export function nearestOnCurve(handles, x, y) {
  const points = curve(handles, 24);
  let best = { distance: Infinity, span: 0, point: null };
  for (let i = 0; i < points.length; i += 1) {
    const a = points[i], b = points[(i + 1) % points.length];
    const dx = b[0] - a[0], dy = b[1] - a[1];
    const length = dx * dx + dy * dy || 1;
    const share = Math.min(1, Math.max(0, ((x - a[0]) * dx + (y - a[1]) * dy) / length));
    const point = [a[0] + share * dx, a[1] + share * dy];
    const distance = Math.hypot(x - point[0], y - point[1]);
    if (distance < best.distance) best = { distance, span: Math.floor(i / 24), point };
  }
  return best;
}

export function centre(handles) {
  const sum = handles.reduce((a, p) => [a[0] + p[0], a[1] + p[1]], [0, 0]);
  return [sum[0] / handles.length, sum[1] / handles.length];
}

export const copyOf = (contour) =>
  contour && { ...contour, points: contour.points.map((p) => [...p]), mitral: [...contour.mitral] };

export const isFixed = (contour, index) => index === contour.apex || contour.mitral.includes(index);

// Each of these gives a new contour and leaves the old one alone, so that undo can keep it.
export function withHandle(contour, index, point) {
  const points = contour.points.map((p, i) => (i === index ? point : p));
  return { ...contour, points };
}

export function moved(contour, dx, dy) {
  return { ...contour, points: contour.points.map(([x, y]) => [x + dx, y + dy]) };
}

export function scaled(contour, factor, about = centre(contour.points)) {
  return {
    ...contour,
    points: contour.points.map(([x, y]) => [about[0] + (x - about[0]) * factor, about[1] + (y - about[1]) * factor]),
  };
}

// A handle more, after handle `index`; the numbers of apex and mitral plane move with their handles.
export function withAdded(contour, index, point) {
  const points = [...contour.points.slice(0, index + 1), point, ...contour.points.slice(index + 1)];
  const shift = (i) => (i > index ? i + 1 : i);
  return { ...contour, points, apex: shift(contour.apex), mitral: contour.mitral.map(shift) };
}

// A handle fewer; null where it is the apex or an end of the mitral plane, or where too few would stay.
export function withRemoved(contour, index, fewest = 6) {
  if (isFixed(contour, index) || contour.points.length <= fewest) return null;
  const shift = (i) => (i > index ? i - 1 : i);
  const points = contour.points.filter((_, i) => i !== index);
  return { ...contour, points, apex: shift(contour.apex), mitral: contour.mitral.map(shift) };
}

// Handles kept within the frame, with three decimals: what is stored.
export function tidy(contour, width, height) {
  const hold = (value, most) => Math.round(Math.min(most, Math.max(0, value)) * 1000) / 1000;
  return { ...contour, points: contour.points.map(([x, y]) => [hold(x, width), hold(y, height)]) };
}
