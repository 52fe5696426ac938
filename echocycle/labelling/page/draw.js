// Contours on the canvas above a frame. ED and ES differ in colour and in the words beside them.

import { curve } from "./curve.js";

// Colours that colour-blind readers can tell apart (Okabe and Ito); the stage is dark in both themes.
export const COLOURS = { ed: "#5cc4ff", es: "#ffb347", other: "#f2a3cf" };
export const NAMES = { ed: "ED", es: "ES" };

function trace(context, viewer, points) {
  context.beginPath();
  points.forEach((point, i) => {
    const [x, y] = viewer.toScreen(point);
    if (i) context.lineTo(x, y);
    else context.moveTo(x, y);
  });
  context.closePath();
}

// A closed curve with a dark rim, so that it is seen on white tissue too.
export function drawCurve(context, viewer, contour, { colour, dash = [], width = 2, alpha = 1, fill = false }) {
  const points = curve(contour.points);
  context.save();
  context.globalAlpha = alpha;
  context.lineJoin = "round";
  trace(context, viewer, points);
  if (fill) {
    context.fillStyle = colour;
    context.globalAlpha = alpha * 0.09;
    context.fill();
    context.globalAlpha = alpha;
  }
  context.setLineDash(dash);
  context.strokeStyle = "rgba(0, 0, 0, 0.55)";
  context.lineWidth = width + 2;
  context.stroke();
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke();
  context.restore();
}

// The long axis, from the apex to the middle of the mitral plane, and the mitral plane.
export function drawAxes(context, viewer, contour, colour) {
  const { points, apex, mitral } = contour;
  const [one, other] = mitral.map((i) => points[i]);
  const base = [(one[0] + other[0]) / 2, (one[1] + other[1]) / 2];
  context.save();
  context.strokeStyle = colour;
  context.globalAlpha = 0.5;
  context.lineWidth = 1;
  context.setLineDash([2, 4]);
  for (const [a, b] of [[points[apex], base], [one, other]]) {
    context.beginPath();
    context.moveTo(...viewer.toScreen(a));
    context.lineTo(...viewer.toScreen(b));
    context.stroke();
  }
  context.restore();
}

function handleShape(context, kind, x, y, r) {
  context.beginPath();
  if (kind === "apex") {
    context.moveTo(x, y - r * 1.35);
    context.lineTo(x + r * 1.2, y + r * 0.85);
    context.lineTo(x - r * 1.2, y + r * 0.85);
    context.closePath();
  } else if (kind === "mitral") context.rect(x - r, y - r, 2 * r, 2 * r);
  else context.arc(x, y, r, 0, 2 * Math.PI);
}

// Handles: a triangle at the apex, squares at the ends of the mitral plane, discs elsewhere; a ring about the chosen one.
export function drawHandles(context, viewer, contour, colour, chosen, hovered) {
  context.save();
  contour.points.forEach((point, i) => {
    const [x, y] = viewer.toScreen(point);
    const kind = i === contour.apex ? "apex" : contour.mitral.includes(i) ? "mitral" : "plain";
    if (i === chosen) {
      context.beginPath();
      context.arc(x, y, 11, 0, 2 * Math.PI);
      context.strokeStyle = "#ffffff";
      context.lineWidth = 2;
      context.stroke();
    }
    handleShape(context, kind, x, y, i === hovered || i === chosen ? 6 : 4.5);
    context.fillStyle = i === chosen ? "#ffffff" : colour;
    context.strokeStyle = "rgba(0, 0, 0, 0.75)";
    context.lineWidth = 1.5;
    context.fill();
    context.stroke();
  });
  context.restore();
}

// Where the grip that scales lies: at the lower right of the contour. In screen pixels.
export function gripAt(viewer, contour) {
  const screen = contour.points.map((p) => viewer.toScreen(p));
  const right = Math.max(...screen.map((p) => p[0])), bottom = Math.max(...screen.map((p) => p[1]));
  const { width, height } = viewer.element.getBoundingClientRect();
  return [Math.min(width - 18, right + 22), Math.min(height - 18, bottom + 22)];
}

export function drawGrip(context, viewer, contour, colour, hot) {
  const [x, y] = gripAt(viewer, contour);
  context.save();
  context.beginPath();
  context.arc(x, y, hot ? 12 : 11, 0, 2 * Math.PI);
  context.fillStyle = "rgba(10, 14, 18, 0.8)";
  context.fill();
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  context.stroke();
  context.beginPath();
  for (const s of [-1, 1]) {
    context.moveTo(x, y);
    context.lineTo(x + 4.5 * s, y + 4.5 * s);
    context.moveTo(x + 4.5 * s, y + 0.5 * s);
    context.lineTo(x + 4.5 * s, y + 4.5 * s);
    context.lineTo(x + 0.5 * s, y + 4.5 * s);
  }
  context.stroke();
  context.restore();
}

// A word in the corner of the frame or beside a contour.
export function drawWord(context, words, x, y, colour, align = "left") {
  context.save();
  context.font = "600 13px system-ui, 'Segoe UI', 'Liberation Sans', sans-serif";
  context.textAlign = align;
  context.textBaseline = "alphabetic";
  context.lineWidth = 4;
  context.lineJoin = "round";
  context.strokeStyle = "rgba(0, 0, 0, 0.7)";
  context.strokeText(words, x, y);
  context.fillStyle = colour;
  context.fillText(words, x, y);
  context.restore();
}
