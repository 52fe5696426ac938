// A line chart of a few hundred points, and intervals as bars: SVG, with words for who cannot see it.

import { h, number, svg } from "./dom.js";

const HEIGHT = 150, LEFT = 48, RIGHT = 12, TOP = 12, BOTTOM = 26;

function ticks(low, high, about) {
  const rough = (high - low) / about || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const found = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-6; t += step) found.push(Math.round(t / step) * step);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

// points: [[step, loss], ...]
export function lineChart(points, { label, x: xLabel, width: WIDTH = 640 }) {
  const kept = points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y));
  const box = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart", role: "img" });
  const words = kept.length ? `${label}, from ${number(kept[0][1], 3)} to ${number(kept.at(-1)[1], 3)}` : `${label}: no point yet`;
  box.setAttribute("aria-label", words);
  if (kept.length < 2) {
    box.append(svg("text", { x: WIDTH / 2, y: HEIGHT / 2, class: "tick middle" }, "The curve begins with the first steps."));
    return h("div.chart-box", box);
  }
  const xs = kept.map((p) => p[0]), ys = kept.map((p) => p[1]);
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)], [y0, y1] = [Math.min(0, ...ys), Math.max(...ys) * 1.05 || 1];
  const x = (v) => LEFT + ((v - x0) / (x1 - x0 || 1)) * (WIDTH - LEFT - RIGHT);
  const y = (v) => HEIGHT - BOTTOM - ((v - y0) / (y1 - y0 || 1)) * (HEIGHT - TOP - BOTTOM);
  const across = ticks(y0, y1, 4), along = ticks(x0, x1, 6);
  for (const t of across.found) {
    box.append(svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(t), y2: y(t), class: "grid" }));
    box.append(svg("text", { x: LEFT - 8, y: y(t) + 4, class: "tick end" }, number(t, across.digits)));
  }
  for (const t of along.found) box.append(svg("text", { x: x(t), y: HEIGHT - 8, class: "tick middle" }, number(t, along.digits)));
  const path = kept.map((p, i) => `${i ? "L" : "M"}${x(p[0]).toFixed(1)} ${y(p[1]).toFixed(1)}`).join("");
  box.append(svg("path", { d: path, class: "line" }));
  const [lastX, lastY] = kept.at(-1);
  box.append(svg("circle", { cx: x(lastX), cy: y(lastY), r: 3.5, class: "end-point" }));
  return h("figure.chart-box", h("figcaption.muted.small", `${label} by ${xLabel}`), box);
}

// Values with intervals on one scale: [{label, value, low, high, kind}]; `zero` draws the line of no difference.
export function intervals(rows, { unit, zero = false }) {
  const ends = rows.flatMap((r) => [r.low ?? r.value, r.high ?? r.value]).filter(Number.isFinite);
  const low = Math.min(...ends, ...(zero ? [0] : [])), high = Math.max(...ends, ...(zero ? [0] : []));
  const pad = (high - low || 1) * 0.12;
  const share = (v) => ((v - low + pad) / (high - low + 2 * pad)) * 100;
  return h(
    "div.intervals",
    rows.map((r) =>
      h(
        `div.interval.${r.kind}`,
        h("span.interval-label", r.label),
        h("span.interval-track", { "aria-hidden": "true" },
          zero ? h("i.zero", { style: { left: `${share(0)}%` } }) : null,
          h("i.range", { style: { left: `${share(r.low ?? r.value)}%`, width: `${share(r.high ?? r.value) - share(r.low ?? r.value)}%` } }),
          h("i.point", { style: { left: `${share(r.value)}%` } })),
        h("span.interval-value", h("b", `${number(r.value, 1)} ${unit}`), Number.isFinite(r.low) && Number.isFinite(r.high) ? h("small", `${number(r.low, 1)} to ${number(r.high, 1)}`) : null),
      ),
    ),
  );
}
