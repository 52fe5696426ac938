// Ghosts: faint contours of other frames, so that a contour is drawn with its neighbours in sight.

import { get } from "./api.js";
import { COLOURS, NAMES, drawCurve, drawWord } from "./draw.js";

const BLOCK = 64;

export class Ghosts {
  constructor(onLoad) {
    this.onLoad = onLoad;
    this.on = true;
    this.blocks = new Map();
  }

  open(video) {
    this.video = video;
    this.blocks = new Map();
  }

  set(on) {
    this.on = on;
    this.onLoad();
  }

  // The model's contour in a frame, where it has seen the video; fetched in blocks and then kept.
  model(frame) {
    if (!this.video?.areas) return null;
    const block = Math.floor(frame / BLOCK);
    if (!this.blocks.has(block)) this.fetch(block);
    return this.blocks.get(block)?.[frame % BLOCK] || null;
  }

  async fetch(block) {
    const { video, blocks } = this;
    blocks.set(block, null);
    const first = block * BLOCK, last = Math.min(video.n_frames, first + BLOCK) - 1;
    try {
      const { contours } = await get(`/api/videos/${video.id}/contours/${first}-${last}`);
      blocks.set(block, contours);
      if (this.video === video) this.onLoad();
    } catch {
      // no ghosts of the model, then: the reader's own are shown all the same
    }
  }

  // On ED and ES: the contour of the other one. Between them: the nearer of both, and what the model sees there.
  paint(context, viewer, session, here) {
    if (!this.on) return;
    if (here) {
      const other = here === "ed" ? "es" : "ed";
      this.ghost(context, viewer, session, other, 0.8);
      return;
    }
    const model = this.model(session.frame);
    if (model) drawCurve(context, viewer, model, { colour: "#d5dde3", width: 1, alpha: 0.65 });
    const near = ["ed", "es"]
      .filter((phase) => session.own[phase] && session.frameOf(phase) !== session.frame)
      .sort((a, b) => Math.abs(session.frameOf(a) - session.frame) - Math.abs(session.frameOf(b) - session.frame));
    if (near.length) this.ghost(context, viewer, session, near[0], 0.75);
    if (model) drawWord(context, "model", 14, 26, "#d5dde3");
  }

  ghost(context, viewer, session, phase, alpha) {
    const contour = session.shown(phase);
    if (!contour) return;
    drawCurve(context, viewer, contour, { colour: COLOURS[phase], dash: [3, 5], width: 1.5, alpha });
    const x = viewer.element.clientWidth - 14;
    drawWord(context, `ghost of ${NAMES[phase]}, frame ${contour.frame}`, x, 26, COLOURS[phase], "right");
  }
}
