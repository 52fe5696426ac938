// One frame on a canvas, and a second canvas above it for what is drawn on the frame.

import { h } from "./dom.js";
import { Frames } from "./frames.js";

const MARGIN = 8;
const ZOOM = 1.8;

export class Viewer {
  // `paint(context, viewer)` draws above the frame, in screen pixels; `toScreen` says where a point of the frame is.
  constructor(paint, label) {
    this.paint = paint;
    this.image = h("canvas.picture", { "aria-hidden": "true" });
    this.overlay = h("canvas.overlay", { tabIndex: 0, role: "img", "aria-label": label });
    this.message = h("p.stage-message", { "aria-live": "polite" });
    this.element = h("div.stage", this.image, this.overlay, this.message);
    this.frame = 0;
    this.view = { scale: 1, wide: 1, x: 0, y: 0, density: 1 };
    this.look = { gain: 1, contrast: 1 };
    this.drawn = null;
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.element);
  }

  open(video) {
    this.frames?.close();
    this.video = video;
    this.drawn = null;
    this.zoomed = null;
    this.frames = new Frames(video, () => this.show(this.frame));
    this.resize();
  }

  // Larger about a point of the frame, or, with null, the whole frame again.
  zoom(about) {
    this.zoomed = about;
    this.resize();
  }

  close() {
    this.observer.disconnect();
    this.frames?.close();
    cancelAnimationFrame(this.request);
  }

  resize() {
    const { width, height } = this.element.getBoundingClientRect();
    if (!this.video || !width || !height) return;
    const density = Math.min(3, window.devicePixelRatio || 1);
    for (const canvas of [this.image, this.overlay]) {
      canvas.width = Math.round(width * density);
      canvas.height = Math.round(height * density);
    }
    // Pixels need not be square: `wide` stretches the columns.
    const wide = this.video.pixel_aspect || 1;
    const whole = Math.min((width - 2 * MARGIN) / (this.video.width * wide), (height - 2 * MARGIN) / this.video.height);
    const scale = whole * (this.zoomed ? ZOOM : 1);
    const [cx, cy] = this.zoomed || [this.video.width / 2, this.video.height / 2];
    const x = width / 2 - scale * wide * cx, y = height / 2 - scale * cy;
    this.view = { scale, wide, x, y, density };
    this.drawn = null;
    this.show(this.frame);
  }

  // (0, 0) is the corner of the first pixel, as on a canvas.
  toScreen([x, y]) {
    return [x * this.view.scale * this.view.wide + this.view.x, y * this.view.scale + this.view.y];
  }

  toFrame(x, y) {
    return this.toFrameStep(x - this.view.x, y - this.view.y);
  }

  // How far a way on the screen is in pixels of the frame.
  toFrameStep(dx, dy) {
    return [dx / (this.view.scale * this.view.wide), dy / this.view.scale];
  }

  show(frame) {
    this.frame = frame;
    this.frames?.prefetch(frame);
    this.drawImage();
    this.redraw();
  }

  drawImage() {
    if (!this.frames || this.drawn === this.frame) return;
    const found = this.frames.get(this.frame);
    const words = found ? "" : this.frames.failed || "Loading the frames …";
    if (this.message.textContent !== words) this.message.textContent = words;
    if (!found) return;
    const { width, height } = this.video;
    const { scale, wide, x, y, density } = this.view;
    const context = this.image.getContext("2d", { alpha: false });
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillRect(0, 0, this.image.width, this.image.height);
    context.setTransform(density, 0, 0, density, 0, 0);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(found.bitmap, 0, found.y, width, height, x, y, width * scale * wide, height * scale);
    this.drawn = this.frame;
  }

  setLook(gain, contrast) {
    this.look = { gain, contrast };
    this.image.style.filter = gain === 1 && contrast === 1 ? "" : `brightness(${gain}) contrast(${contrast})`;
  }

  // Draw what is above the frame, at most once for each frame of the screen.
  redraw(then = null) {
    if (then) this.then = then;
    if (this.request) return;
    this.request = requestAnimationFrame(() => {
      this.request = null;
      this.redrawNow();
      const next = this.then;
      this.then = null;
      next?.();
    });
  }

  redrawNow() {
    if (!this.video) return;
    const context = this.overlay.getContext("2d");
    const { density } = this.view;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.overlay.width, this.overlay.height);
    context.setTransform(density, 0, 0, density, 0, 0);
    this.paint(context, this);
  }
}
