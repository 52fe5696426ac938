// The review screen: what `predict` wrote, beside the video it is about. Accept, reject, or correct it.

import { get, query } from "./api.js";
import { h, icon, number, percent, text } from "./dom.js";
import { COLOURS, NAMES, drawAxes, drawCurve, drawWord } from "./draw.js";
import { tool } from "./panel.js";
import { Player, showTime, wheelSteps } from "./player.js";
import { Timeline } from "./timeline.js";
import { Viewer } from "./viewer.js";

const PAGE = 200;
const DECIDED = { accepted: "Accepted", rejected: "Rejected" };

export class ReviewScreen {
  constructor(app) {
    this.app = app;
    this.title = "Review";
    this.rows = [];
    this.current = null;
    this.beat = 0;
    this.viewer = new Viewer((context, viewer) => this.paint(context, viewer), "The frame with the contour that was predicted");
    this.timeline = new Timeline({ onGo: (frame) => this.go(frame) });
    this.player = new Player((frame) => this.onFrame(frame), (playing) => this.onPlaying(playing));
    this.build();
    wheelSteps(this.viewer.overlay, (steps) => this.player.step(steps));
    this.keys = this.keyList();
  }

  build() {
    const { player } = this;
    this.result = h("select", { id: "result", onchange: () => this.app.show(`#/review/${encodeURIComponent(this.result.value)}`) });
    this.list = h("ol.predictions", { "aria-label": "Predictions" });
    this.side = h("section.card.review-list", h("label.field", { htmlFor: "result" }, "Results", this.result), this.list);
    this.play = tool("play", "Play", "Space", () => player.toggle());
    this.readout = h("output.readout", { "aria-live": "off" });
    this.toolbar = h("div.toolbar", { role: "toolbar", "aria-label": "Player" },
      h("div.tools", tool("back", "One frame back", "←", () => player.step(-1)), this.play, tool("forward", "One frame on", "→", () => player.step(1))), this.readout);
    this.noVideo = h("p.muted", { hidden: true });
    this.watch = h("div.watch", this.viewer.element, this.toolbar, this.timeline.element, this.noVideo);
    this.facts = h("aside.panel", { "aria-label": "Prediction" });
    this.element = h("div.review-screen", this.side, this.watch, this.facts);
    this.empty = h("div.empty", h("h1", "No result yet"),
      h("p", "Predict some recordings into the folder ", h("code", "results"), " of this project:"),
      h("p", h("code", "echocycle predict RECORDINGS -o results/first --masks")));
  }

  async open(result, stem) {
    const told = await get("/api/results");
    const results = told;
    if (this.closed) return;
    if (!results.length) return void this.element.replaceChildren(this.empty);
    this.result.replaceChildren(...results.map((r) => h("option", { value: r.result }, `${r.result} (${r.predictions})`)));
    this.folder = results.some((r) => r.result === result) ? result : results[0].result;
    this.result.value = this.folder;
    await this.fetchRows();
    const first = this.rows.find((row) => !this.decision(row)) || this.rows[0];
    if (stem || first) await this.choose(stem || first.stem);
  }

  close() {
    this.closed = true;
    this.player.pause();
    this.viewer.close();
    this.timeline.close();
  }

  decision(row) {
    return row.decision ?? row.reviewed ?? null;
  }

  path(stem) {
    return `/api/results/${encodeURIComponent(this.folder)}/${stem.split("/").map(encodeURIComponent).join("/")}`;
  }

  async fetchRows() {
    this.rows = [];
    for (let offset = 0; ; offset += PAGE) {
      const told = await get(`/api/results/${encodeURIComponent(this.folder)}?${query({ offset, limit: PAGE })}`);
      this.rows.push(...told.rows);
      if (this.rows.length >= told.total || !told.rows.length || this.closed) break;
    }
    this.drawList();
  }

  drawList() {
    this.list.replaceChildren(...this.rows.map((row) => this.item(row)));
  }

  item(row) {
    const decided = this.decision(row);
    return h(
      "li",
      h("button.prediction", { type: "button", onclick: () => this.choose(row.stem), "aria-current": String(row.stem === this.current?.stem) },
        h("span.name", { title: row.source }, row.source.split("/").at(-1)),
        h("span.small.muted", row.flags?.length ? row.flags.join(", ") : row.not_measured ? "not measured" : ""),
        h("b.ef", percent(row.ef)), h(`span.decided${decided ? `.${decided}` : ""}`, decided ? DECIDED[decided] : "Open")),
    );
  }

  async choose(stem) {
    const prediction = await get(this.path(stem));
    if (this.closed) return;
    const row = this.rows.find((each) => each.stem === stem) || {};
    this.current = { ...prediction, stem, row, video: prediction.id, decision: prediction.reviewed ?? this.decision(row) };
    this.beat = 0;
    this.drawList();
    this.list.querySelector("[aria-current=true]")?.scrollIntoView({ block: "nearest" });
    await this.openVideo();
    this.drawFacts();
  }

  async openVideo() {
    const { current } = this;
    this.noVideo.hidden = Boolean(current.video);
    for (const part of [this.viewer.element, this.toolbar]) part.hidden = !current.video;
    const shape = { n_frames: current.n_frames, fps: current.fps, areas: current.mask_area_px, beats: this.beats() };
    if (current.video) {
      const video = await get(`/api/videos/${current.video}`);
      if (this.closed || this.current !== current) return;
      current.recording = video;
      this.viewer.open(video);
      shape.n_frames = video.n_frames;
    } else text(this.noVideo, "This recording is not in the project, so only its numbers are shown.");
    this.timeline.open(shape);
    this.player.open(shape, this.beats()[0]?.ed ?? 0);
    this.goBeat(0);
  }

  beats() {
    const { ed_frames: ed = [], es_frames: es = [] } = this.current;
    return ed.map((frame, i) => ({ ed: frame, es: es[i] ?? frame }));
  }

  goBeat(index) {
    const beats = this.beats();
    if (!beats.length) return;
    this.beat = (index + beats.length) % beats.length;
    const { ed, es } = beats[this.beat];
    this.timeline.set({ ed, es });
    this.go(ed);
  }

  go(frame) {
    this.player.pause();
    this.player.go(frame);
  }

  onFrame(frame) {
    this.viewer.show(frame);
    this.timeline.set({ frame });
    const { n_frames: count, fps } = this.current.recording || this.current;
    showTime(this.readout, frame, count, fps);
  }

  onPlaying(playing) {
    this.play.replaceChildren(icon(playing ? "pause" : "play"));
    this.play.setAttribute("aria-label", playing ? "Pause" : "Play");
  }

  // --- what was predicted

  interval() {
    const { current } = this;
    const found = current.interval || current.row.interval || current.ef_interval;
    return Array.isArray(found) && found.every(Number.isFinite) ? found : null;
  }

  drawFacts() {
    const { current } = this;
    const range = this.interval();
    const flags = current.row.flags || current.flags || [];
    const words = [...(current.warnings || []), ...(current.notes || [])];
    const decided = current.decision;
    const button = (name, key, run, kind = "") => h(`button${kind}`, { type: "button", onclick: run }, h("span", name), h("kbd", key));
    this.facts.replaceChildren(
      h("section.card.head", h("h1.video-name", { title: current.source }, current.source.split("/").at(-1)),
        h(`p.decided${decided ? `.${decided}` : ""}`, decided ? DECIDED[decided] : "Not reviewed yet")),
      h("section.card.numbers",
        h("div.ef", h("h2", "EF"), h("output.ef-value", percent(current.ef, 1)),
          h("p.muted.small", current.not_measured || (range ? `${number(range[0], 0)} to ${number(range[1], 0)} %, 90 of 100 times` : "No interval was stored."))),
        h("dl.volumes", h("div", h("dt", "By discs"), h("dd", percent(current.ef_by_discs, 1))), h("div", h("dt", "Beats"), h("dd", String(this.beats().length))),
          h("div", h("dt", "Frames"), h("dd", String(current.n_frames))))),
      flags.length || words.length ? h("section.card", h("h2", "Look at this"), h("ul.notes", [...flags, ...words].map((each) => h("li", each)))) : null,
      this.beats().length > 1 ? h("section.card", h("h2", "Beats"), h("div.beats", this.beats().map((beat, i) => h("button.small", { type: "button", onclick: () => this.goBeat(i) }, `${i + 1}`)))) : null,
      h("section.card.actions",
        h("div.pair", button("Accept", "Y", () => this.decide("accept"), ".primary"), button("Reject", "X", () => this.decide("reject"))),
        button("Correct the contours", "C", () => this.correct()),
        button("Next open one", "N", () => this.next())),
    );
  }

  async decide(action) {
    const { current } = this;
    if (!current) return;
    this.app.outbox.add({ id: current.video || null, reader: this.app.reader, action, what: "prediction", run: this.folder, stem: current.stem });
    current.decision = action === "accept" ? "accepted" : "rejected";
    current.row.decision = current.decision;
    this.drawList();
    this.drawFacts();
  }

  next() {
    const at = this.rows.findIndex((row) => row.stem === this.current?.stem);
    const order = [...this.rows.slice(at + 1), ...this.rows.slice(0, Math.max(0, at))];
    const open = order.find((row) => !this.decision(row));
    if (open) this.choose(open.stem);
    else this.app.say("All predictions here are reviewed.");
  }

  // The contours of this beat become the reader's own, to be mended in the trace screen.
  correct() {
    const { current } = this;
    if (!current?.video) return void this.app.say("This recording is not in the project, so it cannot be traced here.");
    const own = current.recording.labels?.[this.app.reader] || {};
    const found = current.contours?.[this.beat];
    const send = (phase) => this.app.outbox.add({ id: current.video, reader: this.app.reader, action: "trace", phase, contour: found[phase] });
    if (found?.ed && !own.ed) send("ed");
    if (found?.es && !own.es) send("es");
    return void this.app.show(`#/trace/${current.video}`);
  }

  paint(context, viewer) {
    const { current } = this;
    for (const pair of current?.contours || []) {
      for (const phase of ["ed", "es"]) {
        if (pair[phase]?.frame !== viewer.frame) continue;
        drawCurve(context, viewer, pair[phase], { colour: COLOURS[phase], fill: true });
        drawAxes(context, viewer, pair[phase], COLOURS[phase]);
        drawWord(context, NAMES[phase], 14, 26, COLOURS[phase]);
      }
    }
  }

  keyList() {
    const { player } = this;
    const key = (on, show, words, run) => ({ on: [on].flat(), show, words, run });
    return [{
      title: "Review",
      keys: [
        key("Space", "Space", "Play or pause", () => player.toggle()),
        key("ArrowLeft", "←", "One frame back; the wheel does it too", () => player.step(-1)),
        key("ArrowRight", "→", "One frame on", () => player.step(1)),
        key("1", "1", "Go to ED of this beat", () => this.current && this.go(this.beats()[this.beat]?.ed ?? 0)),
        key("2", "2", "Go to ES of this beat", () => this.current && this.go(this.beats()[this.beat]?.es ?? 0)),
        key("b", "B", "Next beat", () => this.current && this.goBeat(this.beat + 1)),
        key("y", "Y", "Accept", () => this.decide("accept")),
        key("x", "X", "Reject", () => this.decide("reject")),
        key("c", "C", "Correct the contours", () => this.correct()),
        key("n", "N", "Next one that is not reviewed", () => this.next()),
      ],
    }];
  }
}
