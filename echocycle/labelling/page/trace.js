// The trace screen: a video, its two contours, and what follows from them while they are drawn.

import { get, post, query } from "./api.js";
import { centre } from "./curve.js";
import { measure } from "./discs.js";
import { h, icon, number, percent, text } from "./dom.js";
import { COLOURS, NAMES, drawAxes, drawCurve, drawGrip, drawHandles, drawWord } from "./draw.js";
import { Editor } from "./editor.js";
import { Ghosts } from "./ghosts.js";
import { Panel, tool } from "./panel.js";
import { Player, SPEEDS, showTime, wheelSteps } from "./player.js";
import { Session, plainShape } from "./session.js";
import { Timeline } from "./timeline.js";
import { traceKeys } from "./trace_keys.js";
import { Viewer } from "./viewer.js";

const LOOK = "echocycle-look";

export class TraceScreen {
  constructor(app) {
    this.app = app;
    this.title = "Trace";
    this.viewer = new Viewer((context, viewer) => this.paint(context, viewer), "The frame with its contour");
    this.timeline = new Timeline({ onGo: (frame) => this.go(frame), onFlag: (phase, frame) => this.setPhase(phase, frame) });
    this.player = new Player((frame) => this.onFrame(frame), (playing) => this.onPlaying(playing));
    this.panel = new Panel(this.does());
    this.ghosts = new Ghosts(() => this.viewer.redraw());
    this.editor = new Editor(this.viewer, this.forEditor(), (steps) => this.player.step(steps));
    this.build();
    wheelSteps(this.viewer.overlay, (steps) => this.player.step(steps));
    wheelSteps(this.timeline.element, (steps) => this.player.step(steps));
    this.keys = traceKeys(this);
  }

  build() {
    const { player, editor } = this;
    this.playButton = tool("play", "Play", "Space", () => player.toggle());
    this.zoomButton = tool("zoom", "Zoom in", "Z", () => this.zoom());
    this.undoButton = tool("undo", "Undo", "Ctrl+Z", () => this.undo());
    this.redoButton = tool("redo", "Redo", "Ctrl+Y", () => this.redo());
    this.removeButton = tool("minus", "Remove the chosen handle", "Delete", () => this.removeHandle());
    this.addButton = tool("plus", "Add a handle after the chosen one", "A", () => editor.addAfter());
    this.speed = h("button.tool.words", { type: "button", title: "Speed (R)", onclick: () => this.nextSpeed() }, "1×");
    this.readout = h("output.readout", { "aria-live": "off" });
    this.toolbar = h(
      "div.toolbar", { role: "toolbar", "aria-label": "Player and contour" },
      h("div.tools", tool("back", "One frame back", "←", () => player.step(-1)), this.playButton,
        tool("forward", "One frame on", "→", () => player.step(1)), this.speed),
      this.readout,
      h("div.tools", this.zoomButton, h("span.gap"), this.addButton, this.removeButton, h("span.gap"), this.undoButton, this.redoButton),
    );
    this.left = h("div.watch", this.viewer.element, this.toolbar, this.timeline.element);
    this.element = h("div.trace-screen", this.left, this.panel.element);
    this.empty = h("div.empty", h("h1", "No video is open"), h("p", "Choose one in the queue."), h("p", h("a.button", { href: "#/queue" }, "Open the queue")));
  }

  // The editor speaks to whatever session is open.
  forEditor() {
    return {
      editable: () => (this.player.playing ? null : this.session?.editable() || null),
      preview: (phase, contour) => this.session.preview(phase, contour),
      commit: (phase, contour) => this.session.commit(phase, contour),
      drop: () => this.session.drop(),
      chose: () => this.buttons(),
    };
  }

  does() {
    return {
      accept: () => this.accept(),
      check: () => this.check(),
      skip: (reason) => this.skip(reason),
      skipKey: () => this.skipKey(),
      next: () => this.next(),
      knownEf: (value) => this.session.setEf(value),
      note: (words) => this.session.setNote(words),
      ghosts: (on) => this.ghosts.set(on),
      look: (gain, contrast) => this.setLook(gain, contrast),
      compare: (reader) => this.compare(reader),
      goPhase: (phase) => this.goPhase(phase),
      setPhase: (phase) => this.setPhase(phase, this.player.frame),
      propose: (phase) => this.propose(phase, this.session.frameOf(phase)),
      clear: (phase) => this.session.clear(phase),
    };
  }

  async open(id) {
    if (!id) return void this.element.replaceChildren(this.empty);
    this.id = id;
    this.other = null;
    let video;
    try {
      video = await get(`/api/videos/${id}`);
    } catch (error) {
      if (error.status !== 422) throw error;
      return void this.element.replaceChildren(this.unreadable(error));
    }
    if (this.id !== id || this.closed) return undefined;
    this.app.opened(video);
    this.session = new Session(video, this.app.reader, this.app.outbox, (reason) => this.changed(reason));
    this.ghosts.open(video);
    this.viewer.open(video);
    this.timeline.open(video);
    this.panel.open(this.session);
    const look = this.app.keptLook || { gain: 1, contrast: 1 };
    this.setLook(look.gain, look.contrast);
    this.player.open(video, this.session.frameOf("ed") ?? 0);
    this.waitForModel(video);
    this.changed("open");
    return undefined;
  }

  close() {
    this.closed = true;
    this.player.pause();
    this.viewer.close();
    this.timeline.close();
  }

  // A recording that cannot be read is put aside from here too.
  unreadable({ message }) {
    const skip = async () => {
      this.app.outbox.add({ id: this.id, reader: this.app.reader, action: "state", state: "skipped", reason: "unreadable" });
      await this.next();
    };
    return h("div.empty", h("h1", "This recording cannot be read"), h("p", message),
      h("div.pair", h("button.primary", { type: "button", onclick: skip }, "Skip it: unreadable"), h("button", { type: "button", onclick: () => this.next() }, "Next video")));
  }

  waitForModel(video) {
    const waiting = !video.areas && this.app.project?.model && video.state !== "skipped";
    this.app.hint(waiting ? "The model is looking at this video …" : "");
  }

  // Other browsers, or the model, have changed something: what is drawn just now is left alone.
  async refresh() {
    if (!this.session) return;
    const { session } = this;
    const { outbox } = this.app;
    const before = outbox.seq, busy = outbox.waiting.length;
    const video = await get(`/api/videos/${this.id}`);
    if (this.closed || video.id !== this.id) return;
    // An answer that was on its way while the reader did something does not know of it: the next one will.
    const stale = busy || outbox.waiting.length || outbox.seq !== before;
    const first = !session.video.areas && video.areas;
    Object.assign(session.video, { areas: video.areas, beats: video.beats, notes: video.notes, state: stale ? session.video.state : video.state });
    if (!session.proposal.ed && video.proposal) session.proposal = { ...video.proposal };
    if (!stale) session.refresh(video.labels);
    this.panel.others(session);
    if (first) {
      this.timeline.open(session.video);
      this.ghosts.open(video);
      this.app.hint("");
      if (session.frameOf("ed") !== null && this.player.frame === 0) this.goPhase("ed");
    }
    this.changed("open");
  }

  // --- time

  go(frame) {
    this.player.pause();
    this.player.go(frame);
  }

  goPhase(phase) {
    const frame = this.session?.frameOf(phase);
    if (frame === null || frame === undefined) this.app.say(`${NAMES[phase]} has no frame yet. Go to it and press ${phase === "ed" ? "E" : "S"}.`);
    else this.go(frame);
  }

  onFrame(frame) {
    if (!this.session) return;
    if (this.session.frame !== frame) this.editor.chosen = null;
    this.session.frame = frame;
    this.viewer.show(frame);
    this.timeline.set({ frame });
    const { fps, n_frames: count } = this.session.video;
    showTime(this.readout, frame, count, fps);
    if (!this.player.playing) this.changed("frame");
  }

  onPlaying(playing) {
    this.playButton.replaceChildren(icon(playing ? "pause" : "play"));
    this.playButton.setAttribute("aria-label", playing ? "Pause" : "Play");
    this.changed("frame");
  }

  // About the contour that is here, so that it stays in sight.
  zoom() {
    const contour = this.session?.editable()?.contour || this.session?.shown("ed");
    const { width, height } = this.session.video;
    const about = contour ? centre(contour.points) : [width / 2, height / 2];
    this.viewer.zoom(this.viewer.zoomed ? null : about);
    this.zoomButton.setAttribute("aria-pressed", String(Boolean(this.viewer.zoomed)));
  }

  nextSpeed() {
    const speed = SPEEDS[(SPEEDS.indexOf(this.player.speed) + 1) % SPEEDS.length];
    this.player.setSpeed(speed);
    text(this.speed, { 1: "1×", 0.5: "½×", 0.25: "¼×" }[speed]);
  }

  // --- contours

  undo() {
    this.travelled(this.session?.undo());
  }

  redo() {
    this.travelled(this.session?.redo());
  }

  // Undo is seen: the frame that it changed is shown.
  travelled(phase) {
    this.editor.chosen = null;
    const frame = phase && this.session.frameOf(phase);
    if (typeof frame === "number" && frame !== this.player.frame) this.go(frame);
  }

  chooseNone() {
    this.editor.chosen = null;
    this.changed("frame");
  }

  toggleGhosts() {
    this.panel.ghosts.checked = !this.panel.ghosts.checked;
    this.ghosts.set(this.panel.ghosts.checked);
  }

  // In the frame that is shown: of the phase that is here, or else of the nearer one.
  proposeHere() {
    const { session } = this;
    const here = session?.phaseHere();
    if (here) this.propose(here, session.frame);
    else this.app.say("Press E to make this frame ED, or S for ES.");
  }

  removeHandle() {
    const why = this.editor.remove();
    if (why) this.app.say(why);
  }

  async setPhase(phase, frame) {
    const { session } = this;
    const other = phase === "ed" ? "es" : "ed";
    if (session.frameOf(phase) === frame) return;
    if (session.frameOf(other) === frame) return void this.app.say(`This frame is ${NAMES[other]} already. Move that first.`);
    if (session.moveTo(phase, frame)) this.app.say(`${NAMES[phase]} is frame ${frame} now, with your contour.`);
    else await this.propose(phase, frame);
  }

  // The model's contour in a frame; where it finds none, a plain shape to begin with.
  async propose(phase, frame) {
    const { session } = this;
    if (frame === null) return;
    try {
      const contour = await post(`/api/videos/${session.video.id}/propose`, { frame });
      if (session.own[phase]) session.commit(phase, contour);
      else session.propose(phase, contour);
    } catch (error) {
      if (error.status === 0) throw error;
      session.propose(phase, session.own[phase] || plainShape(session.video, frame));
      this.app.say(`${error.message} A plain shape is shown instead.`);
    }
    if (this.session === session && this.player.frame !== frame) this.go(frame);
  }

  accept() {
    if (this.session && !this.session.accept()) this.app.say("There is no proposal to accept.");
  }

  check() {
    const { session } = this;
    if (!session) return;
    if (session.own.ed && session.own.es) session.setState("checked");
    else this.app.say("Trace ED and ES first.");
  }

  skip(reason) {
    this.session.setState("skipped", reason);
    this.app.say(`Skipped: ${reason}.`);
  }

  skipKey() {
    if (!this.session) return;
    if (this.session.video.state === "skipped") this.session.setState("new");
    else this.panel.askSkip();
  }

  async next() {
    const id = await this.app.nextVideo(this.id);
    if (id) this.app.show(`#/trace/${id}`);
    else this.app.say("No other video waits.");
  }

  setLook(gain, contrast) {
    this.viewer.setLook(gain, contrast);
    this.app.keptLook = { gain, contrast };
    this.panel.gain.input.value = gain;
    this.panel.contrast.input.value = contrast;
    sessionStorage.setItem(LOOK, JSON.stringify(this.app.keptLook));
  }

  async compare(reader) {
    this.other = reader || null;
    this.viewer.redraw();
    if (!reader) return this.panel.showDifference([]);
    const found = await get(`/api/compare/${this.id}?${query({ a: this.session.reader, b: reader })}`);
    const dice = (value) => (value === null || value === undefined ? "–" : number(value, 3));
    const ef = Object.entries(found.ef || {}).map(([name, value]) => [`EF, ${name}`, percent(value, 1)]);
    this.panel.showDifference([["Dice at ED", dice(found.dice_ed)], ["Dice at ES", dice(found.dice_es)], ...ef]);
    const there = this.session.video.labels[reader];
    if (this.session.phaseHere() === null && there?.ed) this.go(there.ed.frame);
    return undefined;
  }

  compareKey() {
    const names = [...this.panel.other.options].map((option) => option.value);
    if (this.panel.second.hidden) return void this.app.say("Nobody else has traced this video.");
    this.panel.other.value = names[(names.indexOf(this.panel.other.value) + 1) % names.length];
    this.compare(this.panel.other.value);
  }

  // --- what is shown

  changed(reason) {
    const { session } = this;
    if (!session) return;
    if (reason === "drag") return void this.panel.numbersOf(session, this.measured());
    if (reason === "trace") this.derive(session);
    this.timeline.set({ ed: session.frameOf("ed"), es: session.frameOf("es") });
    this.panel.update(session, this.measured());
    this.buttons();
    this.viewer.redraw();
  }

  // The state as the server will tell it: what is seen at once is what will be there after a reload.
  derive({ own, video, proposal }) {
    if (video.state === "skipped") return;
    video.state = own.ed && own.es ? "traced" : proposal.ed || proposal.es ? "proposed" : "new";
  }

  buttons() {
    const { session, editor } = this;
    const edited = session.editable();
    this.undoButton.disabled = !session.history.canUndo;
    this.redoButton.disabled = !session.history.canRedo;
    this.addButton.disabled = !edited;
    this.removeButton.disabled = !edited || editor.chosen === null;
  }

  measured() {
    const { session } = this;
    return measure(session.shown("ed"), session.shown("es"), session.video.spacing_mm);
  }

  paint(context, viewer) {
    const { session } = this;
    if (!session) return;
    const here = this.player.playing ? null : session.phaseHere();
    this.ghosts.paint(context, viewer, session, here);
    this.paintOther(context, viewer, here);
    for (const phase of ["ed", "es"]) {
      if (session.frameOf(phase) !== session.frame) continue;
      const contour = session.shown(phase);
      const colour = COLOURS[phase];
      drawCurve(context, viewer, contour, { colour, dash: session.isProposal(phase) ? [7, 5] : [], fill: true });
      drawAxes(context, viewer, contour, colour);
      if (here !== phase) continue;
      drawHandles(context, viewer, contour, colour, this.editor.chosen, this.editor.hovered);
      drawGrip(context, viewer, contour, colour, this.editor.hovered === "grip");
    }
    const shown = ["ed", "es"].find((phase) => session.frameOf(phase) === session.frame);
    if (shown) drawWord(context, `${NAMES[shown]}${session.isProposal(shown) ? "  proposal" : ""}`, 14, 26, COLOURS[shown]);
  }

  paintOther(context, viewer, here) {
    const labels = this.other && this.session.video.labels?.[this.other];
    if (!labels) return;
    const phase = here || ["ed", "es"].find((each) => labels[each]?.frame === this.session.frame);
    if (!phase || !labels[phase]) return;
    drawCurve(context, viewer, labels[phase], { colour: COLOURS.other, dash: [2, 4], width: 2 });
    const apart = labels[phase].frame === this.session.frame ? "" : ` (frame ${labels[phase].frame})`;
    drawWord(context, `${this.other}${apart}`, 14, 46, COLOURS.other);
  }
}
