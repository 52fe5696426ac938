// The right side of the trace screen: the numbers, the two phases, what to do with the video, how it looks.

import { count, h, icon, number, patientOf, percent, stateMark, text } from "./dom.js";
import { NAMES } from "./draw.js";
import { closeButton, open } from "./keys.js";

const REASONS = ["wrong view", "unreadable", "poor"];

// `does` are the screen's own functions; update(session, measured, compared) fills the numbers in.
export class Panel {
  constructor(does) {
    this.does = does;
    this.ef = h("output.ef-value", "–");
    this.efFrom = h("p.muted.small.from");
    this.edv = h("dd", "–");
    this.esv = h("dd", "–");
    this.long = h("dd", "–");
    this.name = h("h1.video-name");
    this.state = h("span.state-here");
    this.about = h("p.muted.small");
    this.why = h("p.small.why-here");
    this.notes = h("ul.notes");
    this.phases = { ed: this.phase("ed"), es: this.phase("es") };
    this.known = h("input", {
      type: "number", min: 0, max: 100, step: "any", inputMode: "decimal", id: "known-ef", placeholder: "none",
      onchange: () => this.readKnown(),
    });
    this.knownNote = h("span.muted.small", { role: "status" });
    this.note = h("textarea", { id: "note", rows: 2, maxLength: 2000, onchange: () => does.note(this.note.value) });
    this.accept = this.button("Accept proposal", "primary", does.accept, "Enter");
    this.check = this.button("Checked", "", does.check, "V");
    // Nothing can be done before a video is open: a click that did nothing would not be noticed.
    this.accept.disabled = this.check.disabled = true;
    this.skip = this.button("Skip …", "", does.skipKey, "X");
    this.next = this.button("Next video", "", does.next, "N");
    this.ghosts = h("input", { type: "checkbox", checked: true, onchange: () => does.ghosts(this.ghosts.checked) });
    this.gain = this.slider("Gain", 0.5, 3);
    this.contrast = this.slider("Contrast", 0.5, 2.5);
    this.other = h("select", { id: "other-reader", onchange: () => does.compare(this.other.value) });
    this.difference = h("div.difference", { role: "status" });
    this.second = h("section.card", h("h2", "Second reader"), h("label.field", "Show", this.other), this.difference);
    this.element = h(
      "aside.panel",
      { "aria-label": "Measurements" },
      h("section.card.head", h("div.title-line", this.name, this.state), this.about, this.why),
      this.numbers(),
      h("section.card.phases", h("h2.sr", "ED and ES"), this.phases.ed.row, this.phases.es.row),
      h("section.card.actions", this.accept, h("div.pair", this.check, this.skip), this.next),
      this.second,
      this.appearance(),
      h("section.card", h("label.stack", { htmlFor: "note" }, "Note"), this.note, this.notes),
    );
  }

  numbers() {
    return h(
      "section.card.numbers",
      h("div.ef", h("h2", "EF by discs"), this.ef, this.efFrom),
      h(
        "dl.volumes",
        h("div", h("dt", "EDV"), this.edv),
        h("div", h("dt", "ESV"), this.esv),
        h("div", h("dt", "Long axis"), this.long),
      ),
      h("div.known", h("label", { htmlFor: "known-ef" }, "Known EF of the report"), this.known, h("span", "%"), this.knownNote),
    );
  }

  appearance() {
    const reset = () => {
      this.gain.input.value = this.contrast.input.value = 1;
      this.does.look(1, 1);
    };
    return h(
      "section.card.look",
      h("div.title-line", h("h2", "Picture"), h("button.quiet.small", { type: "button", onclick: reset }, "Reset")),
      this.gain.row, this.contrast.row,
      h("label.check", this.ghosts, "Ghosts of other frames", h("kbd", "G")),
    );
  }

  button(words, kind, run, key) {
    const made = h(`button${kind ? `.${kind}` : ""}`, { type: "button", onclick: run }, h("span", words), h("kbd", key));
    return made;
  }

  slider(words, min, max) {
    const id = words.toLowerCase();
    const input = h("input", {
      type: "range", id, min, max, step: 0.05, value: 1,
      oninput: () => this.does.look(Number(this.gain.input.value), Number(this.contrast.input.value)),
    });
    return { input, row: h("div.slider", h("label", { htmlFor: id }, words), input) };
  }

  phase(phase) {
    const go = h("button.frame-link", { type: "button", onclick: () => this.does.goPhase(phase) });
    const set = h("button.small", { type: "button", onclick: () => this.does.setPhase(phase) }, "Set here", h("kbd", NAMES[phase][1] === "D" ? "E" : "S"));
    const propose = h("button.small.quiet", { type: "button", onclick: () => this.does.propose(phase) }, "Propose");
    const clear = h("button.small.quiet", { type: "button", onclick: () => this.does.clear(phase) }, "Clear");
    const tag = h("span.tag");
    const row = h(
      `div.phase.${phase}`,
      h("div.phase-head", h("span.dot", { "aria-hidden": "true" }), h("strong", NAMES[phase]), go, tag),
      h("div.phase-does", set, propose, clear),
    );
    return { row, go, tag, set, propose, clear };
  }

  readKnown() {
    const written = this.known.value.trim();
    const value = written === "" ? null : Number(written);
    const bad = value !== null && !(value >= 0 && value <= 100);
    text(this.knownNote, bad ? "Give 0 to 100." : "");
    this.known.setAttribute("aria-invalid", bad);
    if (!bad) this.does.knownEf(value);
  }

  askSkip() {
    const skip = (reason) => {
      dialog.close();
      this.does.skip(reason);
    };
    const free = h("input", { type: "text", maxLength: 200, id: "reason", placeholder: "Another reason" });
    const form = h(
      "form.pair",
      { onsubmit: (event) => { event.preventDefault(); if (free.value.trim()) skip(free.value.trim()); } },
      h("label.sr", { htmlFor: "reason" }, "Another reason"), free, h("button", { type: "submit" }, "Skip"),
    );
    const dialog = h(
      "dialog.ask",
      { "aria-labelledby": "skip-title" },
      h("header", h("h2", { id: "skip-title" }, "Why is it skipped?"), closeButton(() => dialog.close())),
      h("div.choices", REASONS.map((reason) => h("button", { type: "button", onclick: () => skip(reason) }, reason[0].toUpperCase() + reason.slice(1)))),
      form,
    );
    open(dialog);
  }

  open(session) {
    const { video } = session;
    text(this.name, video.name);
    this.name.title = video.name;
    const about = [patientOf(video), video.split && `${video.split} split`, count(video.n_frames, "frame"), video.fps ? `${number(video.fps)} fps` : "fps unknown"];
    text(this.about, about.filter(Boolean).join(" · "));
    const reasons = video.suggest?.reasons || [];
    text(this.why, reasons.length ? `Suggested: ${reasons.join(". ")}.` : "");
    this.known.value = session.ef ?? "";
    this.note.value = session.note;
    this.notes.replaceChildren(...(video.notes || []).map((note) => h("li", note)));
    this.others(session);
  }

  others(session) {
    const labels = session.video.labels || {};
    const names = Object.keys(labels).filter((name) => name !== session.reader && (labels[name].ed || labels[name].es));
    this.second.hidden = names.length === 0;
    const chosen = names.includes(this.other.value) ? this.other.value : "";
    this.other.replaceChildren(h("option", { value: "" }, "Nobody"), ...names.map((name) => h("option", { value: name }, name)));
    this.other.value = chosen;
  }

  numbersOf(session, measured) {
    const { unit } = measured;
    text(this.ef, percent(measured.ef, 1));
    this.ef.classList.toggle("none", measured.ef === null);
    const volume = (value) => (value === null ? "–" : unit === "ml" ? `${number(value, 1)} ml` : `${number(value / 1000, 1)}k px³`);
    text(this.edv, volume(measured.edv));
    text(this.esv, volume(measured.esv));
    const length = (value) => (value === null ? "–" : number(value));
    text(this.long, `${length(measured.long_axis_ed)} / ${length(measured.long_axis_es)} ${unit === "ml" ? "mm" : "px"}`);
    const proposals = ["ed", "es"].filter((phase) => session.isProposal(phase));
    const wrong = measured.ef !== null && measured.ef < 0 ? "ES is larger than ED. Are they exchanged?" : null;
    const one = measured.ef === null ? "Trace ED and ES to see it." : null;
    const from = proposals.length === 2 ? "From the proposal" : proposals.length ? `${NAMES[proposals[0]]} is a proposal` : "From your contours";
    text(this.efFrom, wrong || one || from);
    this.efFrom.classList.toggle("warn", Boolean(wrong));
  }

  update(session, measured) {
    this.numbersOf(session, measured);
    this.state.replaceChildren(stateMark(session.video.state));
    for (const phase of ["ed", "es"]) {
      const { go, tag, propose, clear, row } = this.phases[phase];
      const frame = session.frameOf(phase);
      text(go, frame === null ? "no frame yet" : `frame ${frame}`);
      go.disabled = frame === null;
      text(tag, session.own[phase] ? "yours" : session.proposal[phase] ? "proposal" : "");
      tag.classList.toggle("yours", Boolean(session.own[phase]));
      propose.disabled = frame === null;
      clear.disabled = !session.own[phase];
      row.classList.toggle("here", frame !== null && frame === session.frame);
    }
    this.accept.disabled = !session.isProposal("ed") && !session.isProposal("es");
    this.check.disabled = !(session.own.ed && session.own.es) || session.video.state === "checked";
    text(this.skip.firstChild, session.video.state === "skipped" ? "Take back skip" : "Skip …");
  }

  showDifference(lines) {
    this.difference.replaceChildren(...lines.map(([label, value]) => h("div", h("span", label), h("b", value))));
  }
}

export const tool = (name, words, key, run) =>
  h("button.tool", { type: "button", title: key ? `${words} (${key})` : words, "aria-label": words, onclick: run }, icon(name));
