// The train screen: start, watch, stop, compare with the model in use, take it or not.

import { get, post } from "./api.js";
import { intervals, lineChart } from "./chart.js";
import { count, duration, h, icon, number, text } from "./dom.js";

const EVERY = 1000; // milliseconds between two looks while a training runs

// Stages of a training, as `echocycle train` names them, in words.
const STAGES = {
  prepare: "Reading the videos", segment: "Learning the contours", mask: "Drawing masks in all frames", supervised: "Learning EF from the labels",
  teacher: "Learning EF with a teacher", student: "Learning EF as its student", evaluate: "Measuring the error", report: "Writing the report",
  compare: "Comparing with the model in use",
};
const PRESETS = { "": "Usual for this machine", tiny: "Tiny: a quick look", debug: "Debug: a trial of seconds", paper: "Paper: needs a GPU" };
const WORDS = { running: "Running", done: "Done", failed: "Failed", stopped: "Stopped" };

export class TrainScreen {
  constructor(app) {
    this.app = app;
    this.title = "Train";
    this.runs = [];
    this.shown = null;
    this.build();
    this.keys = [{
      title: "Train",
      keys: [{ on: ["t"], show: "T", words: "Start a training", run: () => !this.start.disabled && this.begin() }],
    }];
  }

  build() {
    this.labels = h("p.lead");
    this.preset = h("select", { id: "preset" }, Object.entries(PRESETS).map(([value, words]) => h("option", { value }, words)));
    this.start = h("button.primary", { type: "button", onclick: () => this.begin() }, icon("train"), h("span", "Start training"), h("kbd", "T"));
    this.said = h("p.said", { role: "status" });
    this.model = h("p.muted");
    this.list = h("ol.runs", { "aria-label": "Trainings" });
    this.detail = h("section.detail");
    this.element = h(
      "div.train-screen",
      h("section.card.begin", h("h1", "Train on your labels"), this.labels, this.model,
        h("div.train-line", h("label.field", { htmlFor: "preset" }, "Preset", this.preset), this.start), this.said),
      h("div.train-columns", h("section.card.side", h("h2", "Trainings"), this.list), this.detail),
    );
  }

  async open() {
    this.showProject(this.app.project);
    await this.look();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
  }

  refresh() {
    this.showProject(this.app.project);
  }

  showProject(project) {
    if (!project) return;
    const traced = (project.counts.traced || 0) + (project.counts.checked || 0);
    text(this.labels, traced ? `${count(traced, "video")} traced so far. A training reads a copy of these labels and never changes them.` : "No video is traced yet. Trace some first.");
    text(this.model, project.model ? `In use now: ${project.model.name}. ${project.model.sentence || ""}` : "No model is in use.");
  }

  async begin() {
    this.start.disabled = true;
    text(this.said, "Starting …");
    try {
      const { run } = await post("/api/train", this.preset.value ? { preset: this.preset.value } : {});
      this.shown = run;
      text(this.said, "");
    } catch (error) {
      text(this.said, error.message);
      this.start.disabled = false;
    }
    await this.look();
  }

  async look() {
    clearTimeout(this.timer);
    try {
      const told = await get("/api/runs");
      if (this.closed) return;
      this.runs = told;
      this.draw();
    } catch (error) {
      if (this.closed) return;
      text(this.said, error.message);
    }
    const running = this.runs.some((run) => run.state === "running");
    this.timer = setTimeout(() => this.look(), running ? EVERY : 5 * EVERY);
  }

  draw() {
    const running = this.runs.find((run) => run.state === "running");
    this.start.disabled = Boolean(running);
    if (!this.runs.some((run) => run.run === this.shown)) this.shown = (running || this.runs[0])?.run ?? null;
    const key = JSON.stringify([this.runs.map((run) => [run.run, run.state, run.in_use]), this.shown]);
    if (this.listKey !== key) {
      this.listKey = key;
      this.list.replaceChildren(...(this.runs.length ? this.runs.map((run) => this.item(run)) : [h("li.muted", "None yet.")]));
    }
    const run = this.runs.find((each) => each.run === this.shown);
    const detail = JSON.stringify(run || null);
    if (this.detailKey === detail) return;
    this.detailKey = detail;
    if (run?.state === "running" && this.bar && this.barRun === run.run) this.progress(run);
    else this.detail.replaceChildren(...(run ? this.describe(run) : [this.nothing()]));
  }

  nothing() {
    return h("div.card.empty", h("h2", "No training yet"), h("p", "Trace ED and ES of about twenty videos, then start one. Each training begins at the base and reads all labels."));
  }

  item(run) {
    const pick = () => {
      this.shown = run.run;
      this.draw();
    };
    return h(
      "li",
      h("button.run", { type: "button", onclick: pick, "aria-current": String(run.run === this.shown) },
        h("span.run-name", run.run), h(`span.run-state.${run.state}`, WORDS[run.state] || run.state), run.in_use ? h("span.tag.yours", "in use") : null),
    );
  }

  describe(run) {
    this.bar = null;
    const head = h("header.title-line", h("h2", run.run), h(`span.run-state.${run.state}`, WORDS[run.state] || run.state));
    const resume = ["stopped", "failed"].includes(run.state) ? h("div", h("button", { type: "button", onclick: () => this.ask(`/api/runs/${run.run}/resume`) }, icon("play"), h("span", "Go on"))) : null;
    const said = run.sentence && !run.comparison ? h("p", run.sentence) : null;
    const parts = [h("div.card", head, this.started(run), run.labels ? h("p", run.labels) : null, said, resume, run.state === "running" ? this.running(run) : null)];
    if (run.comparison) parts.push(this.comparison(run));
    else if (run.state === "done") parts.push(h("div.card", h("p.muted", "There is no comparison for this run."), this.take(run)));
    return parts;
  }

  started(run) {
    const when = run.started ? new Date(typeof run.started === "number" ? run.started * 1000 : run.started) : null;
    return when && !Number.isNaN(when.getTime()) ? h("p.muted.small", `Started ${when.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" })}`) : null;
  }

  running(run) {
    this.barRun = run.run;
    this.bar = h("progress", { max: 1, "aria-label": "Progress" });
    this.stage = h("p.stage-words", { role: "status" });
    this.chart = h("div");
    this.stop = h("button", { type: "button", onclick: () => this.halt(run) }, icon("stop"), h("span", "Stop"));
    const made = h("div", this.stage, h("div.progress-line", this.bar, this.stop), this.chart);
    this.progress(run);
    return made;
  }

  progress({ progress: p }) {
    const known = p?.steps > 0;
    if (known) this.bar.value = Math.min(1, p.step / p.steps);
    else this.bar.removeAttribute("value");
    const left = duration(p?.remaining_s);
    text(this.stage, [STAGES[p?.stage] || p?.stage || "Beginning", known ? `step ${p.step} of ${p.steps}` : "", left && `about ${left} left`].filter(Boolean).join(" · "));
    const curve = p?.curve || [];
    const key = `${curve.length} ${curve.at(-1)}`;
    if (this.chartKey === key && this.chart.firstChild) return;
    this.chartKey = key;
    // As wide as it will be shown, so that its words keep their size.
    const width = Math.max(300, Math.min(640, this.detail.clientWidth - 34));
    if (curve.length || known) this.chart.replaceChildren(lineChart(curve, { label: "Loss", x: "step", width }));
  }

  async halt(run) {
    this.stop.disabled = true;
    text(this.stage, "Stopping …");
    await this.ask(`/api/runs/${run.run}/stop`);
  }

  async ask(path) {
    try {
      await post(path);
    } catch (error) {
      this.app.say(error.message, "bad");
    }
    await this.look();
    await this.app.update();
  }

  take(run) {
    if (run.in_use) return h("div.take", h("p.taken", icon("checked"), h("span", "This model is in use.")), run.command ? [h("p.muted.small", "Other recordings are read with this command; write their folder and a name of your own into it:"), h("code.command", run.command)] : null);
    const use = h("button.primary", { type: "button", onclick: () => {
      use.disabled = true;
      this.ask(`/api/runs/${run.run}/use`);
    } }, icon("checked"), h("span", "Take this model"));
    return h("div.take", use, h("p.muted.small", "Until you take it, the model in use stays. Proposals are made anew then."));
  }

  comparison(run) {
    const c = run.comparison;
    const of = (words, e, kind) => (e && Number.isFinite(e.value) ? [{ label: words, ...e, kind }] : []);
    const both = [...of("New model", c.error_new, "new"), ...of("In use", c.error_used, "used")];
    const dice = (value) => (value === null || value === undefined ? "–" : number(typeof value === "object" ? value.value : value, 3));
    return h(
      "div.card.comparison",
      h("h2", "New model beside the one in use"),
      both.length ? [h("p.muted.small", `On ${count(c.videos, "validation video")}, the same for both. 95 % intervals. Lower is better.`),
        h("h3", "Error of EF, points"), intervals(both, { unit: "" })] : null,
      c.difference && Number.isFinite(c.difference.value) ? [h("h3", "Difference, new minus in use"), intervals([{ label: "Paired", ...c.difference, kind: "difference" }], { unit: "", zero: true })] : null,
      h("p.verdict", c.sentence || this.verdict(c.difference || {})),
      this.without(c),
      h("dl.dice", h("div", h("dt", "Dice, new"), h("dd", dice(c.dice_new))), h("div", h("dt", "Dice, in use"), h("dd", dice(c.dice_used)))),
      this.take(run),
      c.worst?.length ? [h("h3", "Where the new model errs most"), h("ol.worst", c.worst.map((w) => h("li", h("a", { href: `#/trace/${w.id}` }, w.name), h("span", w.error === null ? "no answer" : `${number(w.error, 1)} points`))))] : null,
    );
  }

  without({ without_answer: none }) {
    if (!none?.new && !none?.used) return null;
    return h("p.muted.small", `Without an answer: ${none.new} of the new model, ${none.used} of the one in use. They are not in the errors.`);
  }

  verdict({ low, high }) {
    if (!Number.isFinite(low) || !Number.isFinite(high)) return "Too few videos for an interval.";
    if (high < 0) return "The new model is better on these videos.";
    if (low > 0) return "The model in use is better on these videos.";
    return "The interval holds zero: these videos do not tell which is better.";
  }
}
