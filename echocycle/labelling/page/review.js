// The review screen: what `predict` wrote, beside the video it is about. Accept, reject, or correct it.

import { get, query } from "./api.js";
import { count, h, icon, percent, text } from "./dom.js";
import { COLOURS, NAMES, drawAxes, drawCurve, drawWord } from "./draw.js";
import { tool } from "./panel.js";
import { SEVERITY_WORDS, answerOf, doubtsOf, numbersOf } from "./prediction.js";
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
      h("p", "Predict some recordings into the folder ", h("code", "results"), " of this project, for example so:"),
      h("p", h("code", `echocycle predict RECORDINGS -o PROJECT/results/first --model zero`)));
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
    if (!this.wanted && (stem || first)) await this.choose(stem || first.stem); // the reader may have been faster
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
        h("span.small.muted", row.flags?.length ? count(row.flags.length, "remark") : ""),
        h("b.ef", percent(row.ef)), h(`span.decided${decided ? `.${decided}` : ""}`, decided ? DECIDED[decided] : "Open")),
    );
  }

  async choose(stem) {
    this.wanted = stem;
    const prediction = await get(this.path(stem));
    if (this.closed || this.wanted !== stem) return; // another was chosen while this one was on its way
    const row = this.rows.find((each) => each.stem === stem) || {};
    this.current = { ...prediction, stem, row, video: prediction.id, decision: prediction.reviewed ?? this.decision(row) };
    this.beat = 0;
    this.drawList();
    this.list.querySelector("[aria-current=true]")?.scrollIntoView({ block: "nearest" });
    await this.openVideo();
    if (this.wanted === stem) this.drawFacts();
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
    this.facts.querySelectorAll(".beats button").forEach((each, i) => each.setAttribute("aria-pressed", String(i === this.beat)));
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

  drawFacts() {
    const { current } = this;
    const answer = answerOf(current), doubts = doubtsOf(current), beats = this.beats();
    const decided = current.decision;
    const button = (name, key, run, kind = "") => h(`button${kind}`, { type: "button", onclick: run }, h("span", name), h("kbd", key));
    const doubt = ({ severity, sentence }) => h(`li.doubt.${severity}`, severity === "note" ? null : h("b", `${SEVERITY_WORDS[severity]}: `), sentence);
    this.facts.replaceChildren(
      h("section.card.head", h("h1.video-name", { title: current.source }, current.source.split("/").at(-1)),
        h(`p.decided${decided ? `.${decided}` : ""}`, decided ? DECIDED[decided] : "Not reviewed yet")),
      h("section.card.numbers",
        h("div.ef", h("h2", "EF"), h(`output.ef-value${answer.ef === null ? ".none" : ""}`, percent(answer.ef, 1)), h("p.muted.small", answer.words)),
        h("dl.volumes", numbersOf(current).map(([name, value]) => h("div", h("dt", name), h("dd", value))))),
      h("section.card.actions",
        h("div.pair", button("Accept", "Y", () => this.decide("accept"), ".primary"), button("Reject", "X", () => this.decide("reject"))),
        button("Correct the contours", "C", () => this.correct()),
        button("Next open one", "N", () => this.next())),
      beats.length > 1 ? h("section.card", h("h2", "Beats"), h("div.beats", beats.map((_, i) => h("button.small", { type: "button", "aria-pressed": String(i === this.beat), onclick: () => this.goBeat(i) }, `${i + 1}`)))) : "",
      doubts.length ? h("section.card", h("h2", "Look at this"), h("ul.notes", doubts.map(doubt))) : "",
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
