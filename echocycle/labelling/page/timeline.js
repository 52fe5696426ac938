// The area curve under a video: beats as bars, ED and ES as flags that can be dragged, the playhead. A click goes there.

import { h } from "./dom.js";
import { COLOURS, NAMES } from "./draw.js";

const SIDE = 14; // screen pixels left and right of the curve
const TOP = 24, BOTTOM = 22;
const REACH = 12;

export class Timeline {
  // onGo(frame); onFlag(phase, frame) when ED or ES is dragged elsewhere (may be missing: then flags stay).
  constructor({ onGo, onFlag = null }) {
    this.onGo = onGo;
    this.onFlag = onFlag;
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.element = h("div.timeline", {
      tabIndex: 0, role: "slider", "aria-label": "Frame", "aria-valuemin": 0,
    }, this.canvas);
    this.marks = { frame: 0, ed: null, es: null };
    this.drag = null;
    const on = (name, what) => this.element.addEventListener(name, (event) => what.call(this, event));
    on("pointerdown", this.down);
    on("pointermove", this.move);
    on("pointerup", this.up);
    on("pointercancel", this.up);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.element);
    this.dark = window.matchMedia("(prefers-color-scheme: dark)");
    this.redo = () => this.draw();
    this.dark.addEventListener("change", this.redo);
    document.addEventListener("themechange", this.redo);
  }

  close() {
    this.observer.disconnect();
    this.dark.removeEventListener("change", this.redo);
    document.removeEventListener("themechange", this.redo);
  }

  // `areas` may be null; `beats` are [{ed, es}].
  open({ n_frames: count, fps, areas, beats }) {
    this.count = count;
    this.fps = fps > 0 ? fps : null;
    this.areas = areas?.length ? areas : null;
    this.beats = beats || [];
    this.element.setAttribute("aria-valuemax", count - 1);
    this.draw();
  }

  // The beats as one word each for those who cannot see the curve, and the marks.
  set(marks) {
    this.marks = { ...this.marks, ...marks };
    this.element.setAttribute("aria-valuenow", this.marks.frame);
    const { frame, ed, es } = this.marks;
    const what = frame === ed ? ", ED" : frame === es ? ", ES" : "";
    this.element.setAttribute("aria-valuetext", `frame ${frame} of ${this.count - 1}${what}`);
    this.draw();
  }

  x(frame) {
    return SIDE + (frame / Math.max(1, this.count - 1)) * (this.width - 2 * SIDE);
  }

  frameAt(x) {
    const share = (x - SIDE) / Math.max(1, this.width - 2 * SIDE);
    return Math.round(Math.min(1, Math.max(0, share)) * (this.count - 1));
  }

  // What a pointer is on: a flag, a beat's bar, or the curve.
  find(x, y) {
    if (this.onFlag && y < TOP + 4) {
      for (const phase of ["ed", "es"]) {
        const frame = this.drag?.phase === phase ? this.drag.frame : this.marks[phase];
        if (frame !== null && Math.abs(this.x(frame) - x) < REACH + 4) return { phase };
      }
    }
    if (y > this.height - BOTTOM) {
      const beat = this.beats.find(({ ed, es }) => x >= this.x(Math.min(ed, es)) - 3 && x <= this.x(Math.max(ed, es)) + 3);
      if (beat) return { beat };
    }
    return {};
  }

  at(event) {
    const box = this.element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  down(event) {
    if (event.button > 0 || !this.count) return;
    this.element.setPointerCapture(event.pointerId);
    const [x, y] = this.at(event);
    const found = this.find(x, y);
    if (found.beat) return this.onGo(this.nearestOf(found.beat, this.frameAt(x)));
    this.drag = { ...found, frame: found.phase ? this.marks[found.phase] : this.frameAt(x), moved: false };
    return found.phase ? this.onGo(this.drag.frame) : this.onGo(this.frameAt(x));
  }

  nearestOf({ ed, es }, frame) {
    return Math.abs(frame - ed) <= Math.abs(frame - es) ? ed : es;
  }

  move(event) {
    const [x, y] = this.at(event);
    if (!this.drag) {
      const found = this.find(x, y);
      this.element.style.cursor = found.phase ? "ew-resize" : "pointer";
      return;
    }
    const frame = this.frameAt(x);
    if (frame === this.drag.frame) return;
    this.drag.frame = frame;
    this.drag.moved = true;
    this.onGo(frame);
  }

  up() {
    const { drag } = this;
    this.drag = null;
    if (drag?.phase && drag.moved) this.onFlag(drag.phase, drag.frame);
    this.draw();
  }

  draw() {
    const { width, height } = this.element.getBoundingClientRect();
    if (!width || !this.count) return;
    this.width = width;
    this.height = height;
    const density = Math.min(3, window.devicePixelRatio || 1);
    const [w, t] = [Math.round(width * density), Math.round(height * density)];
    if (this.canvas.width !== w) this.canvas.width = w;
    if (this.canvas.height !== t) this.canvas.height = t;
    const context = this.canvas.getContext("2d");
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(this.element);
    const ink = (name) => style.getPropertyValue(name).trim();
    this.drawSeconds(context, ink);
    this.drawBeats(context, ink);
    this.drawAreas(context, ink);
    for (const phase of ["ed", "es"]) this.drawFlag(context, phase, ink);
    this.drawPlayhead(context, ink);
  }

  drawSeconds(context, ink) {
    if (!this.fps) return;
    context.strokeStyle = ink("--line");
    context.lineWidth = 1;
    const seconds = (this.count - 1) / this.fps;
    const every = seconds > 8 ? 2 : seconds > 1.5 ? 0.5 : 0.25;
    for (let s = 0; s <= seconds; s += every) {
      const x = Math.round(this.x(s * this.fps)) + 0.5;
      context.beginPath();
      context.moveTo(x, TOP);
      context.lineTo(x, this.height - BOTTOM);
      context.stroke();
    }
  }

  drawAreas(context, ink) {
    const low = TOP + 6, high = this.height - BOTTOM - 6;
    if (!this.areas) {
      context.strokeStyle = ink("--muted");
      context.setLineDash([3, 4]);
      context.beginPath();
      context.moveTo(SIDE, (low + high) / 2);
      context.lineTo(this.width - SIDE, (low + high) / 2);
      context.stroke();
      context.setLineDash([]);
      context.font = "13px system-ui, 'Segoe UI', 'Liberation Sans', sans-serif";
      context.fillStyle = ink("--muted");
      context.textAlign = "center";
      context.fillText("The area curve comes when a model has looked at the video.", this.width / 2, (low + high) / 2 - 10);
      return;
    }
    const most = Math.max(...this.areas), least = Math.min(...this.areas);
    const y = (area) => high - ((area - least) / Math.max(1e-9, most - least)) * (high - low);
    context.beginPath();
    this.areas.forEach((area, k) => {
      if (k) context.lineTo(this.x(k), y(area));
      else context.moveTo(this.x(k), y(area));
    });
    context.strokeStyle = ink("--curve");
    context.lineWidth = 2;
    context.lineJoin = "round";
    context.stroke();
    context.lineTo(this.x(this.areas.length - 1), high + 4);
    context.lineTo(this.x(0), high + 4);
    context.closePath();
    context.globalAlpha = 0.1;
    context.fillStyle = ink("--curve");
    context.fill();
    context.globalAlpha = 1;
  }

  drawBeats(context, ink) {
    const y = this.height - BOTTOM + 6;
    context.font = "11px system-ui, 'Segoe UI', 'Liberation Sans', sans-serif";
    this.beats.forEach(({ ed, es }, i) => {
      const from = this.x(Math.min(ed, es)), to = this.x(Math.max(ed, es));
      context.fillStyle = ink("--beat");
      context.beginPath();
      context.roundRect(from, y, Math.max(4, to - from), 12, 3);
      context.fill();
      context.fillStyle = ink("--beat-ink");
      context.textAlign = "center";
      if (to - from > 14) context.fillText(String(i + 1), (from + to) / 2, y + 9.5);
    });
  }

  drawFlag(context, phase, ink) {
    const dragged = this.drag?.phase === phase && this.drag.moved;
    const frame = dragged ? this.drag.frame : this.marks[phase];
    if (frame === null || frame === undefined) return;
    const x = this.x(frame);
    const colour = ink(`--${phase}`) || COLOURS[phase];
    context.strokeStyle = colour;
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(x, TOP - 4);
    context.lineTo(x, this.height - BOTTOM);
    context.stroke();
    context.fillStyle = colour;
    context.beginPath();
    context.roundRect(x - 13, 3, 26, TOP - 6, 4);
    context.fill();
    context.fillStyle = ink("--flag-ink");
    context.font = "600 12px system-ui, 'Segoe UI', 'Liberation Sans', sans-serif";
    context.textAlign = "center";
    context.fillText(NAMES[phase], x, 16.5);
  }

  drawPlayhead(context, ink) {
    const x = this.x(this.marks.frame);
    context.strokeStyle = ink("--ink");
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(x, TOP - 2);
    context.lineTo(x, this.height - 4);
    context.stroke();
    context.fillStyle = ink("--ink");
    context.beginPath();
    context.arc(x, this.height - 5, 3.5, 0, 2 * Math.PI);
    context.fill();
  }
}
