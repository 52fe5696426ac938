// The pictures of one video, fetched as strips of many frames and kept decoded, so that any frame is drawn at once.

import { getBlob } from "./api.js";

const TALLEST = 8192; // pixels of a strip's height that every browser can decode
const MOST = 64; // frames a strip, the server's limit
const MEMORY = 64e6; // pixels kept decoded: 256 MB

export class Frames {
  constructor(video, onLoad) {
    this.video = video;
    this.onLoad = onLoad;
    this.per = Math.max(1, Math.min(MOST, Math.floor(TALLEST / video.height)));
    this.count = Math.ceil(video.n_frames / this.per);
    this.strips = new Map();
    this.around = 0;
    this.closed = new AbortController();
    this.failed = null;
    this.working = false;
  }

  // Where frame `k` lies: {bitmap, y}, or null while it is not here yet.
  get(k) {
    const bitmap = this.strips.get(Math.floor(k / this.per));
    return bitmap ? { bitmap, y: (k % this.per) * this.video.height } : null;
  }

  get loaded() {
    return Math.min(1, this.strips.size / this.mostStrips);
  }

  get mostStrips() {
    const pixels = this.per * this.video.height * this.video.width;
    return Math.min(this.count, Math.max(2, Math.floor(MEMORY / pixels)));
  }

  // Strips in the order in which they will be wanted: this one, those after it, those before it.
  wanted() {
    const here = Math.floor(this.around / this.per);
    return Array.from({ length: this.count }, (_, i) => (here + i) % this.count).slice(0, this.mostStrips);
  }

  async prefetch(k) {
    this.around = k;
    if (this.working) return;
    this.working = true;
    for (;;) {
      const next = this.wanted().find((strip) => !this.strips.has(strip));
      if (next === undefined || this.closed.signal.aborted) break;
      if (!(await this.fetch(next))) break;
    }
    this.working = false;
  }

  async fetch(strip) {
    const first = strip * this.per, last = Math.min(this.video.n_frames, first + this.per) - 1;
    try {
      const blob = await getBlob(`/api/videos/${this.video.id}/strip/${first}-${last}.png`, {
        signal: this.closed.signal,
      });
      const bitmap = await createImageBitmap(blob);
      if (this.closed.signal.aborted) return false;
      this.failed = null;
      this.strips.set(strip, bitmap);
      this.makeRoom();
      this.onLoad();
      return true;
    } catch (error) {
      if (error.name === "AbortError") return false;
      this.failed = error.message;
      this.onLoad();
      return false;
    }
  }

  makeRoom() {
    const keep = new Set(this.wanted());
    for (const [strip, bitmap] of this.strips) {
      if (keep.has(strip)) continue;
      bitmap.close();
      this.strips.delete(strip);
    }
  }

  close() {
    this.closed.abort();
    for (const bitmap of this.strips.values()) bitmap.close();
    this.strips.clear();
  }
}
