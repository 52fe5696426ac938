// Volume of a contour by Simpson's single-plane rule of 20 discs, and EF; the server's /api/measure gives the same.

import { curve } from "./curve.js";

const DISCS = 20;

// {volume, unit, length}: ml and mm with `spacing` [row, column] in mm, else px3 and pixels.
export function volume(contour, spacing = null) {
  const [sy, sx] = spacing || [1, 1];
  const polygon = curve(contour.points).map(([x, y]) => [x * sx, y * sy]);
  const at = (i) => [contour.points[i][0] * sx, contour.points[i][1] * sy];
  const apex = at(contour.apex), one = at(contour.mitral[0]), other = at(contour.mitral[1]);
  const axis = [(one[0] + other[0]) / 2 - apex[0], (one[1] + other[1]) / 2 - apex[1]];
  const length = Math.hypot(...axis);
  const unit = spacing ? "ml" : "px3";
  if (!(length > 0)) return { volume: 0, unit, length: 0 };
  const [ux, uy] = [axis[0] / length, axis[1] / length];
  const along = polygon.map(([x, y]) => (x - apex[0]) * ux + (y - apex[1]) * uy);
  const across = polygon.map(([x, y]) => (y - apex[1]) * ux - (x - apex[0]) * uy);
  let squares = 0;
  for (let k = 0; k < DISCS; k += 1) {
    const level = ((k + 0.5) / DISCS) * length;
    let width = 0;
    for (let i = 0; i < polygon.length; i += 1) {
      const j = (i + 1) % polygon.length;
      if (along[i] <= level === along[j] <= level) continue;
      const share = (level - along[i]) / (along[j] - along[i]);
      width += Math.sign(along[j] - along[i]) * (across[i] + share * (across[j] - across[i]));
    }
    squares += width * width;
  }
  const value = ((Math.PI / 4) * squares * length) / DISCS;
  return { volume: spacing ? value / 1000 : value, unit, length };
}

// EF in percent of the two contours, with both volumes; a value is null where its contour is missing.
export function measure(ed, es, spacing = null) {
  const large = ed && volume(ed, spacing), small = es && volume(es, spacing);
  const ef = large && small && large.volume > 0 ? (100 * (large.volume - small.volume)) / large.volume : null;
  return {
    ef,
    edv: large ? large.volume : null,
    esv: small ? small.volume : null,
    unit: spacing ? "ml" : "px3",
    long_axis_ed: large ? large.length : null,
    long_axis_es: small ? small.length : null,
  };
}
