// Pointers on the stage: drag a handle, the whole contour or its grip; double click the curve for a handle more.
// Mouse, pen and fingers come through the same events. A drag on empty ground scrubs; two fingers scale.

import { centre, curve, inside, moved, nearestOnCurve, scaled, withAdded, withHandle, withRemoved } from "./curve.js";
import { gripAt } from "./draw.js";

const REACH = { mouse: 11, pen: 14, touch: 24 }; // screen pixels around a handle
const NEAR_CURVE = { mouse: 9, pen: 12, touch: 20 };
const DOUBLE = { time: 400, distance: 12 };
const SCRUB = 10; // screen pixels a frame

export class Editor {
  // `session` knows the contour that can be edited and takes what is made of it; `onScrub(steps)` moves in time.
  constructor(viewer, session, onScrub) {
    this.viewer = viewer;
    this.session = session;
    this.onScrub = onScrub;
    this.chosen = null;
    this.hovered = null;
    this.pointers = new Map();
    this.drag = null;
    this.lastTap = null;
    const on = (name, what) => viewer.overlay.addEventListener(name, (event) => what.call(this, event));
    on("pointerdown", this.down);
    on("pointermove", this.move);
    on("pointerup", this.up);
    on("pointercancel", this.cancel);
    on("pointerleave", () => this.hover(null, false));
  }

  get active() {
    return this.session.editable();
  }

  at(event) {
    const box = this.viewer.overlay.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  // What lies under a place of the screen: a handle, the grip, the inside of the contour, or nothing.
  find(x, y, kind) {
    const edited = this.active;
    if (!edited) return { what: "nothing" };
    const { contour } = edited;
    const reach = REACH[kind] || REACH.mouse;
    const far = contour.points.map((p) => {
      const [sx, sy] = this.viewer.toScreen(p);
      return Math.hypot(sx - x, sy - y);
    });
    const nearest = far.indexOf(Math.min(...far));
    if (far[nearest] <= reach) return { what: "handle", index: nearest };
    const [gx, gy] = gripAt(this.viewer, contour);
    if (Math.hypot(gx - x, gy - y) <= reach + 3) return { what: "grip" };
    const point = this.viewer.toFrame(x, y);
    if (inside(curve(contour.points), ...point)) return { what: "inside" };
    return { what: "nothing" };
  }

  down(event) {
    if (event.button > 0) return;
    this.viewer.overlay.focus({ preventScroll: true });
    const [x, y] = this.at(event);
    this.pointers.set(event.pointerId, [x, y]);
    this.viewer.overlay.setPointerCapture(event.pointerId);
    if (this.pointers.size === 2) return this.beginPinch();
    const edited = this.active;
    const found = this.find(x, y, event.pointerType);
    if (edited && this.isDouble(event, x, y) && found.what !== "handle" && this.addAt(x, y, event.pointerType)) return;
    if (found.what === "handle") this.chosen = found.index;
    else if (found.what !== "grip") this.chosen = null;
    this.drag = { ...found, ...edited, from: [x, y], to: [x, y], scrubbed: 0, id: event.pointerId, moved: false };
    this.viewer.redraw();
    this.session.chose?.();
  }

  isDouble(event, x, y) {
    const last = this.lastTap;
    this.lastTap = { time: event.timeStamp, x, y };
    return last && event.timeStamp - last.time < DOUBLE.time && Math.hypot(last.x - x, last.y - y) < DOUBLE.distance;
  }

  // A handle more where the curve passes near; true if one was added.
  addAt(x, y, kind) {
    const { phase, contour } = this.active;
    const found = nearestOnCurve(contour.points, ...this.viewer.toFrame(x, y));
    if (found.distance * this.viewer.view.scale > (NEAR_CURVE[kind] || NEAR_CURVE.mouse)) return false;
    this.chosen = found.span + 1;
    this.drag = null;
    this.lastTap = null;
    this.session.commit(phase, withAdded(contour, found.span, found.point));
    return true;
  }

  move(event) {
    const [x, y] = this.at(event);
    if (this.pointers.has(event.pointerId)) this.pointers.set(event.pointerId, [x, y]);
    if (this.pinch) return this.movePinch(event);
    const { drag } = this;
    if (!drag) return event.pointerType === "touch" ? undefined : this.hover([x, y], event.pointerType);
    if (event.pointerId !== drag.id) return undefined;
    drag.to = [x, y];
    if (!drag.moved && Math.hypot(x - drag.from[0], y - drag.from[1]) < 2) return undefined;
    drag.moved = true;
    if (drag.what === "nothing") return this.scrub(drag, x);
    return this.preview(drag.phase, this.dragged(drag), event);
  }

  // The contour as the drag under way makes it, from where the drag began: no step adds up an error.
  dragged({ what, contour, index, from, to }) {
    const [dx, dy] = this.viewer.toFrameStep(to[0] - from[0], to[1] - from[1]);
    if (what === "handle") {
      const [hx, hy] = contour.points[index];
      return withHandle(contour, index, this.held([hx + dx, hy + dy]));
    }
    if (what === "inside") return moved(contour, dx, dy);
    const about = this.viewer.toScreen(centre(contour.points));
    const ratio = Math.hypot(to[0] - about[0], to[1] - about[1]) / Math.hypot(from[0] - about[0], from[1] - about[1]);
    return scaled(contour, Math.min(4, Math.max(0.25, ratio)));
  }

  held([x, y]) {
    const { width, height } = this.viewer.video;
    return [Math.min(width, Math.max(0, x)), Math.min(height, Math.max(0, y))];
  }

  preview(phase, contour, event) {
    this.session.preview(phase, contour);
    const start = event.timeStamp;
    // The measure lets anyone see in the browser's own tools how long a step of a drag takes, up to its drawing.
    this.viewer.redraw(() => performance.measure("drag-redraw", { start, end: performance.now() }));
  }

  scrub(drag, x) {
    const steps = Math.trunc((x - drag.from[0]) / SCRUB) - drag.scrubbed;
    drag.scrubbed += steps;
    if (steps) this.onScrub(steps);
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    if (this.pinch) return this.endPinch();
    const { drag } = this;
    this.drag = null;
    if (drag?.moved && drag.what !== "nothing") this.session.commit(drag.phase, this.dragged(drag));
    return undefined;
  }

  cancel(event) {
    this.pointers.delete(event.pointerId);
    this.drag = null;
    this.pinch = null;
    this.session.drop();
  }

  hover(place, kind) {
    const found = place ? this.find(...place, kind) : { what: "nothing" };
    const hovered = found.what === "handle" ? found.index : found.what === "grip" ? "grip" : null;
    this.viewer.overlay.style.cursor = { handle: "grab", inside: "move", grip: "nwse-resize" }[found.what] || "default";
    if (hovered === this.hovered) return;
    this.hovered = hovered;
    this.viewer.redraw();
  }

  beginPinch() {
    const edited = this.active;
    this.drag = null;
    this.session.drop();
    if (edited) this.pinch = { ...edited, from: [...this.pointers.values()].map((p) => [...p]), now: null };
  }

  movePinch(event) {
    const [a, b] = this.pinch.from, [c, d] = [...this.pointers.values()];
    if (!c || !d) return;
    const ratio = Math.hypot(d[0] - c[0], d[1] - c[1]) / Math.max(20, Math.hypot(b[0] - a[0], b[1] - a[1]));
    const [dx, dy] = this.viewer.toFrameStep((c[0] + d[0] - a[0] - b[0]) / 2, (c[1] + d[1] - a[1] - b[1]) / 2);
    this.pinch.now = moved(scaled(this.pinch.contour, Math.min(4, Math.max(0.25, ratio))), dx, dy);
    this.preview(this.pinch.phase, this.pinch.now, event);
  }

  endPinch() {
    const { phase, now } = this.pinch;
    this.pinch = null;
    if (now) this.session.commit(phase, now);
  }

  // --- the same by keyboard

  choose(by) {
    const edited = this.active;
    if (!edited) return;
    const n = edited.contour.points.length;
    this.chosen = this.chosen === null ? edited.contour.apex : (this.chosen + by + n) % n;
    this.viewer.redraw();
    this.session.chose?.();
  }

  nudge(dx, dy) {
    const edited = this.active;
    if (!edited) return;
    const { phase, contour } = edited;
    if (this.chosen === null) return void this.session.commit(phase, moved(contour, dx, dy));
    const [x, y] = contour.points[this.chosen];
    this.session.commit(phase, withHandle(contour, this.chosen, this.held([x + dx, y + dy])));
  }

  scale(factor) {
    const edited = this.active;
    if (edited) this.session.commit(edited.phase, scaled(edited.contour, factor));
  }

  // A handle more in the middle of the span after the chosen one.
  addAfter() {
    const edited = this.active;
    if (!edited) return;
    const { phase, contour } = edited;
    const index = this.chosen ?? contour.apex;
    const point = curve(contour.points, 2)[2 * index + 1];
    this.chosen = index + 1;
    this.session.commit(phase, withAdded(contour, index, point));
  }

  // The sentence that says why the handle stays, or null where it went.
  remove() {
    const edited = this.active;
    if (!edited || this.chosen === null) return "Choose a handle first: click it, or press ].";
    const fewer = withRemoved(edited.contour, this.chosen);
    if (!fewer) return "The apex and both ends of the mitral plane stay, and at least six handles.";
    this.chosen = null;
    this.session.commit(edited.phase, fewer);
    return null;
  }
}
