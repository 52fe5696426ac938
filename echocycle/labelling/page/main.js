// Where the page begins: screens by address, the bar above them, what is saved, what other browsers did.

import { ApiError, get, onConnection, query } from "./api.js";
import { h, icon, text } from "./dom.js";
import { Keys, closeButton, open } from "./keys.js";
import { Outbox } from "./outbox.js";
import { QueueScreen } from "./queue.js";
import { ReviewScreen } from "./review.js";
import { TraceScreen } from "./trace.js";
import { TrainScreen } from "./train.js";

const SCREENS = { queue: QueueScreen, trace: TraceScreen, train: TrainScreen, review: ReviewScreen };
const POLL = 2000;
const READER = "echocycle-reader";
const THEME = "echocycle-theme";
const HIDDEN = "echocycle-warnings-hidden";

// A part of the address; one that is damaged stays as it is, and leads nowhere.
const decoded = (part) => {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
};

const at = (id) => document.getElementById(id);

class App {
  constructor() {
    this.listing = { state: "", search: "", order: "suggest" };
    this.keys = new Keys();
    this.outbox = new Outbox();
    this.project = null;
    this.reader = localStorage.getItem(READER) || "";
    this.keptLook = JSON.parse(sessionStorage.getItem("echocycle-look") || "null");
    this.outbox.onChange((outbox) => this.showSaved(outbox));
    this.outbox.onAnswer(() => this.updateSoon());
    onConnection((online) => this.showSaved(this.outbox, online));
    window.addEventListener("hashchange", () => this.route());
    window.addEventListener("beforeunload", (event) => this.outbox.waiting.length && event.preventDefault());
  }

  async start() {
    this.bar();
    await this.update();
    this.version = this.project?.version;
    await this.route();
    this.poll();
  }

  get totalVideos() {
    return Object.values(this.project?.counts || {}).reduce((a, b) => a + b, 0);
  }

  // --- the bar

  bar() {
    for (const link of document.querySelectorAll("nav a")) link.prepend(icon(link.dataset.screen));
    at("help").addEventListener("click", () => this.keys.help());
    at("theme").addEventListener("click", () => this.theme(this.dark ? "light" : "dark"));
    at("reader").addEventListener("click", () => this.askReader());
    at("hide-warnings").addEventListener("click", () => {
      sessionStorage.setItem(HIDDEN, this.warned);
      this.warn(this.project.warnings || []);
    });
    at("saved").addEventListener("click", () => this.showOutbox());
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.theme(null));
    this.theme(localStorage.getItem(THEME));
  }

  get dark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : window.matchMedia("(prefers-color-scheme: dark)").matches;
  }

  theme(chosen) {
    if (chosen) {
      document.documentElement.dataset.theme = chosen;
      localStorage.setItem(THEME, chosen);
    }
    at("theme").replaceChildren(icon(this.dark ? "light" : "dark"));
    at("theme").title = this.dark ? "Light colours" : "Dark colours";
    at("theme").setAttribute("aria-label", at("theme").title);
    document.dispatchEvent(new Event("themechange"));
  }

  askReader() {
    const name = h("input", { type: "text", id: "reader-name", maxLength: 60, value: this.reader, autocomplete: "off", list: "reader-names", required: true });
    const names = h("datalist", { id: "reader-names" }, (this.project?.readers || []).map((each) => h("option", { value: each })));
    const form = h(
      "form.stack",
      { onsubmit: (event) => {
        event.preventDefault();
        if (!name.value.trim()) return;
        this.setReader(name.value.trim());
        dialog.close();
        this.route(true);
      } },
      h("label", { htmlFor: "reader-name" }, "Your name or initials. Each reader's contours are kept apart."), name, names,
      h("button.primary", { type: "submit" }, "Go on as this reader"),
    );
    const dialog = h("dialog.ask", { "aria-labelledby": "reader-title" }, h("header", h("h2", { id: "reader-title" }, "Who is reading?"), closeButton(() => dialog.close())), form);
    open(dialog);
    name.select();
  }

  setReader(name) {
    this.reader = name;
    localStorage.setItem(READER, name);
    text(at("reader-shown"), name);
  }

  // --- saved or not

  showSaved(outbox, online = true) {
    const n = outbox.waiting.length, refused = outbox.refused.length;
    const words = refused ? `${refused} refused` : n && outbox.offline ? `${n} not saved yet` : n ? "Saving …" : online ? "Saved" : "No connection";
    const kind = refused ? "bad" : outbox.offline || !online ? "waiting" : n ? "saving" : "saved";
    at("saved").className = `saved ${kind}`;
    text(at("saved-words"), words);
    const connection = outbox.offline || (online ? "" : "The server does not answer. Is `echocycle label` still running?");
    at("banner").hidden = !connection;
    text(at("banner-words"), connection ? `${connection} ${n ? "Your work is kept in this browser and sent as soon as it can be." : ""}` : "");
  }

  showOutbox() {
    const { waiting, refused, savedAt } = this.outbox;
    const last = savedAt ? `The server wrote the last action to its disk at ${new Date(savedAt).toLocaleTimeString("en-GB")}.` : "Nothing was changed since this page was opened.";
    const list = refused.map((each) => h("li", h("b", each.action), ` ${each.sentence}`));
    const dialog = h(
      "dialog.ask", { "aria-labelledby": "saved-title" },
      h("header", h("h2", { id: "saved-title" }, "What is saved"), closeButton(() => dialog.close())),
      h("p", waiting.length ? `${waiting.length} actions wait in this browser until the server answers.` : "Nothing waits. " + last),
      refused.length ? [h("h3", "Refused by the server"), h("ul.notes", list), h("button", { type: "button", onclick: () => { this.outbox.forgetRefused(); dialog.close(); } }, "I have read this")] : null,
    );
    open(dialog);
  }

  say(words, kind = "") {
    const made = h(`p.toast${kind ? `.${kind}` : ""}`, words);
    at("toasts").replaceChildren(made);
    clearTimeout(this.toast);
    this.toast = setTimeout(() => made.remove(), Math.max(3500, words.length * 70));
  }

  hint(words) {
    text(at("hint"), words);
  }

  // --- screens

  show(hash) {
    if (window.location.hash === hash) this.route(true);
    else window.location.hash = hash;
  }

  async route(again = false) {
    const [name, ...rest] = window.location.hash.replace(/^#\/?/, "").split("/").map(decoded);
    const chosen = SCREENS[name] ? name : "queue";
    const address = window.location.hash;
    if (this.address === address && !again) return;
    this.address = address;
    this.screen?.close();
    this.hint("");
    const screen = new SCREENS[chosen](this);
    this.screen = screen;
    at("main").replaceChildren(screen.element);
    this.keys.set([...screen.keys, this.ownKeys()]);
    for (const link of document.querySelectorAll("nav a")) link.setAttribute("aria-current", link.dataset.screen === chosen ? "page" : "false");
    document.title = `${screen.title} · ${this.project?.name || "echocycle"}`;
    try {
      await screen.open(...(chosen === "trace" && !rest[0] && this.lastVideo ? [this.lastVideo] : rest));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (this.screen === screen) at("main").replaceChildren(this.trouble(error));
    }
  }

  trouble(error) {
    return h("div.empty", h("h1", "This cannot be shown"), h("p", error.message), h("p", h("button", { type: "button", onclick: () => this.route(true) }, "Try again")));
  }

  ownKeys() {
    const key = (on, words, run) => ({ on: [on], show: on.toUpperCase(), words, run });
    return {
      title: "Everywhere",
      keys: [
        key("q", "Queue", () => this.show("#/queue")),
        key("w", "Trace: the video opened last", () => this.show(this.lastVideo ? `#/trace/${this.lastVideo}` : "#/trace")),
        key("d", "Train", () => this.show("#/train")),
        key("f", "Review", () => this.show("#/review")),
        key("l", "Light or dark", () => this.theme(this.dark ? "light" : "dark")),
        { on: ["?"], show: "?", words: "This help", run: () => this.keys.help() },
      ],
    };
  }

  opened(video) {
    this.lastVideo = video.id;
    document.title = `${video.name} · ${this.project?.name || "echocycle"}`;
  }

  // The video after `id` in the order of the queue that still waits.
  async nextVideo(id) {
    const waits = (video) => video.id !== id && (video.state === "new" || video.state === "proposed");
    const step = 200;
    let passed = this.listing.order === "suggest", first = null;
    for (let offset = 0; ; offset += step) {
      const { videos, total } = await get(`/api/videos?${query({ ...this.listing, offset, limit: step })}`);
      for (const video of videos) {
        if (passed && waits(video)) return video.id;
        if (video.id === id) passed = true;
        first ||= waits(video) ? video.id : null;
      }
      if (offset + step >= total || !videos.length) return first;
    }
  }

  // --- what others did

  async update() {
    try {
      this.project = await get("/api/project");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (!this.project) at("main").replaceChildren(this.trouble(error));
      return;
    }
    this.last ??= this.project.last ?? 0;
    text(at("project"), this.project.name);
    if (!this.reader) this.setReader(this.project.reader || "reader");
    text(at("reader-shown"), this.reader);
    this.warn(this.project.warnings || []);
  }

  // Warnings that were hidden stay so, until another one comes.
  warn(warnings) {
    const words = warnings.join("\n");
    at("warnings").hidden = !words || sessionStorage.getItem(HIDDEN) === words;
    if (this.warned === words) return;
    this.warned = words;
    at("warning-list").replaceChildren(...warnings.map((each) => h("li", each)));
  }

  updateSoon() {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.update().then(() => this.screen?.showCounts?.(this.project)), 250);
  }

  async poll() {
    try {
      const told = await get(`/api/events?${query({ after: this.last ?? 0 })}`);
      this.last = told.last;
      const others = told.events.filter((event) => event.client !== this.outbox.client);
      const changed = told.version !== undefined && told.version !== this.version;
      this.version = told.version;
      if (others.length || changed) await this.changedElsewhere(others);
      if (this.outbox.offline) this.outbox.send();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
    setTimeout(() => this.poll(), POLL);
  }

  async changedElsewhere(events) {
    await this.update();
    const { screen } = this;
    if (screen instanceof TraceScreen && events.length && !events.some((event) => event.id === screen.id) && screen.session?.video.areas) return;
    await screen?.refresh?.();
  }
}

window.app = new App();
window.app.start();
