// One reader at one video: whose contours are shown, what was changed, and what goes to the journal.

import { copyOf, tidy } from "./curve.js";
import { History } from "./history.js";

const PHASES = ["ed", "es"];
const histories = new Map(); // undo goes on when the reader comes back to a video

export class Session {
  // `onChange(reason)` is called whenever something that is shown has changed.
  constructor(video, reader, outbox, onChange) {
    this.video = video;
    this.reader = reader;
    this.outbox = outbox;
    this.onChange = onChange;
    this.live = null; // {phase, contour} of the drag under way
    this.frame = 0;
    this.proposal = { ed: video.proposal?.ed || null, es: video.proposal?.es || null };
    const own = this.withWaiting(video.labels?.[reader] || {});
    this.ef = own.ef_known ?? video.ef_known ?? null;
    this.note = own.note || "";
    const key = `${reader}/${video.id}`;
    const kept = histories.get(key);
    const state = { ed: own.ed || null, es: own.es || null };
    this.history = kept && same(kept.present, state) ? kept : new History(state);
    histories.set(key, this.history);
  }

  // What the server told, and over it the actions that it has not got yet.
  withWaiting(told) {
    const own = { ...told };
    for (const each of this.outbox.waiting) {
      if (each.id !== this.video.id || each.reader !== this.reader) continue;
      if (each.action === "trace") own[each.phase] = each.contour;
      if (each.action === "clear") own[each.phase] = null;
      if (each.action === "ef") own.ef_known = each.value;
      if (each.action === "note") own.note = each.text;
    }
    return own;
  }

  get own() {
    return this.history.present;
  }

  // The contour of a phase as it is shown now, the drag under way included.
  shown(phase) {
    if (this.live?.phase === phase) return this.live.contour;
    return this.own[phase] || this.proposal[phase];
  }

  isProposal(phase) {
    return !this.own[phase] && this.live?.phase !== phase && Boolean(this.proposal[phase]);
  }

  frameOf(phase) {
    return this.shown(phase)?.frame ?? null;
  }

  // The phase whose contour belongs to the frame that is shown.
  phaseHere() {
    return PHASES.find((phase) => this.frameOf(phase) === this.frame) || null;
  }

  editable() {
    const phase = this.phaseHere();
    return phase ? { phase, contour: this.shown(phase) } : null;
  }

  preview(phase, contour) {
    this.live = { phase, contour };
    this.onChange("drag");
  }

  drop() {
    this.live = null;
    this.onChange("drag");
  }

  commit(phase, contour) {
    this.live = null;
    this.put(phase, tidy(copyOf(contour), this.video.width, this.video.height));
  }

  put(phase, contour) {
    this.history.push({ ...this.own, [phase]: contour });
    this.send(phase);
    this.onChange("trace");
  }

  send(phase) {
    const contour = this.own[phase];
    if (contour) this.act("trace", { phase, contour });
    else this.act("clear", { phase });
  }

  act(action, rest) {
    this.outbox.add({ id: this.video.id, reader: this.reader, action, ...rest });
  }

  // Both proposals become the reader's own contours; those that are own already stay.
  accept() {
    const taken = PHASES.filter((phase) => this.isProposal(phase));
    if (!taken.length) return false;
    const next = { ...this.own };
    for (const phase of taken) next[phase] = copyOf(this.proposal[phase]);
    this.history.push(next);
    taken.forEach((phase) => this.send(phase));
    this.onChange("trace");
    return true;
  }

  clear(phase) {
    if (this.own[phase]) this.put(phase, null);
  }

  undo() {
    return this.travel(() => this.history.undo());
  }

  redo() {
    return this.travel(() => this.history.redo());
  }

  travel(go) {
    const before = this.own;
    const after = go();
    if (!after) return null;
    const changed = PHASES.filter((phase) => before[phase] !== after[phase]);
    changed.forEach((phase) => this.send(phase));
    this.onChange("trace");
    return changed[0] || null;
  }

  // Another frame is to be this phase: the reader's contour goes with it, a proposal is made anew by the caller.
  moveTo(phase, frame) {
    const own = this.own[phase];
    if (own) this.put(phase, { ...copyOf(own), frame });
    return Boolean(own);
  }

  propose(phase, contour) {
    this.proposal = { ...this.proposal, [phase]: contour };
    this.onChange("edit");
  }

  setEf(value) {
    this.ef = value;
    this.act("ef", { value });
    this.onChange("edit");
  }

  setState(state, reason = null) {
    this.video.state = state;
    this.video.skip_reason = reason;
    this.act("state", { state, reason });
    this.onChange("edit");
  }

  setNote(note) {
    this.note = note;
    this.act("note", { text: note });
  }

  // The same reader in another browser has traced: theirs is the last word, ours can be undone to.
  refresh(labels) {
    const told = this.withWaiting(labels?.[this.reader] || {});
    const state = { ed: told.ed || null, es: told.es || null };
    this.video.labels = labels;
    if (!this.live && !same(state, this.own)) this.history.push(state);
    this.onChange("edit");
  }
}

const same = (a, b) => JSON.stringify(order(a)) === JSON.stringify(order(b));
const order = (state) =>
  PHASES.map((phase) => {
    const c = state[phase];
    return c ? [c.frame, c.points.map((p) => p.map((v) => Math.round(v * 100))), c.apex, c.mitral] : null;
  });

// A ventricle of the usual shape in the middle of the frame, for a start where the model finds none.
export function plainShape(video, frame) {
  const { width, height } = video;
  const top = 0.22 * height, long = 0.5 * height, half = 0.13 * Math.min(width, height) * 1.25;
  const side = [0.12, 0.34, 0.58, 0.8].map((t) => [half * Math.pow(Math.sin(Math.PI * Math.min(0.5 + 0.16, 0.5 * (t + 0.32))), 0.8), t]);
  const right = side.map(([w, t]) => [width / 2 + w, top + t * long]);
  const left = side.map(([w, t]) => [width / 2 - w, top + t * long]).reverse();
  const base = top + long;
  const points = [[width / 2, top], ...right, [width / 2 + 0.72 * half, base], [width / 2, base + 0.015 * height], [width / 2 - 0.72 * half, base], ...left];
  return tidy({ frame, points, apex: 0, mitral: [5, 7] }, width, height);
}
