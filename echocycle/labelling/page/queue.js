// The queue: all videos of the project, of which only the rows in sight are in the page.

import { get, media, query } from "./api.js";
import { STATES, count, h, icon, number, patientOf, stateMark, text } from "./dom.js";

const ROW = 76; // pixels; the same number stands in queue.css
const PAGE = 100; // videos fetched at once
const BEYOND = 6; // rows drawn above and below those in sight
const ORDERS = { suggest: "Suggested first", name: "Name", state: "State", ef: "EF" };

export class QueueScreen {
  constructor(app) {
    this.app = app;
    this.title = "Queue";
    this.params = app.listing;
    this.total = null;
    this.pages = new Map();
    this.asked = new Set();
    this.rows = new Map();
    this.chosen = app.chosenRow || 0;
    this.build();
    this.keys = this.keyList();
  }

  build() {
    this.search = h("input", {
      type: "search", id: "search", placeholder: "Name or patient", value: this.params.search,
      oninput: () => this.later(),
    });
    this.order = h("select", { id: "order", onchange: () => this.set({ order: this.order.value }) },
      Object.entries(ORDERS).map(([value, words]) => h("option", { value }, words)));
    this.order.value = this.params.order;
    this.filters = h("div.filters", { role: "group", "aria-label": "Filter by state" });
    this.summary = h("p.muted.small", { role: "status" });
    this.space = h("div.space");
    this.list = h("div.list", {
      role: "listbox", tabIndex: 0, "aria-label": "Videos", onscroll: () => this.draw(),
      onclick: (event) => this.click(event), onfocus: () => this.mark(), onblur: () => this.mark(),
    }, this.space);
    this.empty = h("div.empty", { hidden: true });
    this.element = h(
      "div.queue-screen",
      h("header.queue-head",
        h("div.search-line", h("label.search", { htmlFor: "search" }, icon("search"), h("span.sr", "Search"), this.search),
          h("label.field", { htmlFor: "order" }, "Order", this.order),
          h("a.button", { href: media("/api/export"), download: "" }, icon("export"), "Export labels")),
        this.filters, this.summary),
      h("div.list-box", this.list, this.empty),
    );
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.list);
  }

  async open() {
    this.showCounts(this.app.project);
    await this.fetch(0);
    if (this.closed) return;
    this.list.scrollTop = this.app.queueScroll || 0;
    this.draw();
    if (!document.activeElement || document.activeElement === document.body) this.list.focus({ preventScroll: true });
  }

  close() {
    this.closed = true;
    this.app.queueScroll = this.list.scrollTop;
    this.app.chosenRow = this.chosen;
    this.observer.disconnect();
    clearTimeout(this.timer);
  }

  // --- what is asked for

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.set({ search: this.search.value.trim() }), 200);
  }

  set(change) {
    Object.assign(this.params, change);
    this.chosen = 0;
    this.list.scrollTop = 0;
    this.showCounts(this.app.project);
    this.reload();
  }

  // Rows stay in sight until the new ones are here: nothing flickers.
  async reload() {
    this.asked.clear();
    this.stale = true;
    await this.fetch(Math.floor(this.list.scrollTop / ROW / PAGE));
  }

  async fetch(page) {
    if (this.asked.has(page)) return;
    this.asked.add(page);
    const wanted = query({ ...this.params, offset: page * PAGE, limit: PAGE });
    this.wanted = query(this.params);
    const asked = this.wanted;
    let told;
    try {
      told = await get(`/api/videos?${wanted}`);
    } catch (error) {
      this.asked.delete(page);
      if (!this.closed) this.app.say(error.message, "bad");
      return;
    }
    if (this.closed || asked !== this.wanted) return;
    if (this.stale) this.pages.clear();
    this.stale = false;
    this.pages.set(page, told.videos);
    this.total = told.total;
    this.draw();
  }

  row(index) {
    return this.pages.get(Math.floor(index / PAGE))?.[index % PAGE] || null;
  }

  // --- drawing

  showCounts(project) {
    if (!project) return;
    const all = Object.values(project.counts).reduce((a, b) => a + b, 0);
    const chip = (state, words, n) =>
      h("button.chip", {
        type: "button", "aria-pressed": String((this.params.state || "") === state), onclick: () => this.set({ state }),
      }, state ? icon(state) : null, h("span", words), h("b", n.toLocaleString("en")));
    this.filters.replaceChildren(
      chip("", "All", all),
      ...Object.entries(STATES).map(([state, words]) => chip(state, words, project.counts[state] || 0)),
    );
  }

  draw() {
    if (this.total === null) return;
    this.space.style.height = `${this.total * ROW}px`;
    const first = Math.max(0, Math.floor(this.list.scrollTop / ROW) - BEYOND);
    const last = Math.min(this.total, Math.ceil((this.list.scrollTop + this.list.clientHeight) / ROW) + BEYOND);
    for (const [index, row] of this.rows) {
      if (index >= first && index < last) continue;
      row.remove();
      this.rows.delete(index);
    }
    for (let page = Math.floor(first / PAGE); page * PAGE < last; page += 1) if (!this.pages.has(page)) this.fetch(page);
    for (let index = first; index < last; index += 1) this.place(index);
    this.mark();
    const shown = this.params.state || this.params.search ? ` of ${count(this.app.totalVideos, "video")}` : "";
    text(this.summary, shown ? `${this.total.toLocaleString("en")}${shown}` : count(this.total, "video"));
    this.showEmpty();
  }

  showEmpty() {
    this.empty.hidden = this.total > 0;
    if (this.total > 0) return;
    const none = this.app.totalVideos === 0;
    this.empty.replaceChildren(
      h("h1", none ? "No recording is here yet" : "No video fits"),
      h("p", none ? "Put DICOM, AVI, MP4 or MOV files into the folder of this project, then start the program again." : "Change the filter or the search."),
    );
  }

  place(index) {
    const video = this.row(index);
    const key = video ? JSON.stringify(video) : "";
    const old = this.rows.get(index);
    if (old && old.dataset.key === key) return;
    const made = video ? this.make(video, index) : h("div.row.blank", { role: "option", "aria-selected": "false" }, "…");
    made.dataset.key = key;
    made.dataset.index = index;
    made.style.transform = `translateY(${index * ROW}px)`;
    made.setAttribute("aria-setsize", this.total);
    made.setAttribute("aria-posinset", index + 1);
    // The picture that is there already moves over, so that it does not blink.
    const picture = old?.querySelector("img");
    if (picture && picture.dataset.id === video?.id) made.querySelector("img").replaceWith(picture);
    if (old) old.replaceWith(made);
    else this.space.append(made);
    this.rows.set(index, made);
  }

  make(video, index) {
    const about = [patientOf(video), video.n_frames && count(video.n_frames, "frame"), video.fps && `${number(video.fps)} fps`];
    const reasons = video.suggest?.reasons || [];
    const ef = video.ef_known ?? video.ef_discs;
    const picture = h("img", { src: media(`/api/videos/${video.id}/thumbnail.png`), alt: "", loading: "lazy", width: 64, height: 64, draggable: false });
    picture.dataset.id = video.id;
    picture.addEventListener("error", () => picture.classList.add("broken"));
    return h(
      "div.row", { id: `row-${index}`, role: "option", "aria-selected": "false" },
      h("span.thumb", picture),
      h("span.what", h("span.name", { title: video.name }, video.name), h("span.about.muted", about.filter(Boolean).join(" · "))),
      h("span.why", reasons.length ? [icon("star"), h("span", `${reasons.join(". ")}.`)] : video.skip_reason ? h("span.muted", video.skip_reason) : null),
      h("span.ef", ef === null || ef === undefined ? "" : [h("b", number(ef, 0)), h("small", video.ef_known === null || video.ef_known === undefined ? "% discs" : "% known")]),
      h("span.readers.muted", video.readers?.length ? video.readers.join(", ") : ""),
      stateMark(video.state),
    );
  }

  mark() {
    for (const [index, row] of this.rows) {
      const on = index === this.chosen;
      row.classList.toggle("chosen", on);
      row.setAttribute("aria-selected", String(on));
    }
    this.list.setAttribute("aria-activedescendant", `row-${this.chosen}`);
  }

  // --- choosing

  click(event) {
    const row = event.target.closest(".row");
    if (!row) return;
    this.chosen = Number(row.dataset.index);
    this.enter();
  }

  move(by) {
    if (!this.total) return;
    this.chosen = Math.min(this.total - 1, Math.max(0, this.chosen + by));
    const top = this.chosen * ROW, { scrollTop, clientHeight } = this.list;
    if (top < scrollTop) this.list.scrollTop = top;
    if (top + ROW > scrollTop + clientHeight) this.list.scrollTop = top + ROW - clientHeight;
    this.draw();
  }

  enter() {
    const video = this.row(this.chosen);
    if (video) this.app.show(`#/trace/${video.id}`);
  }

  refresh() {
    this.showCounts(this.app.project);
    this.reload();
  }

  keyList() {
    const key = (on, show, words, run) => ({ on: [on].flat(), show, words, run });
    const page = () => Math.max(1, Math.floor(this.list.clientHeight / ROW) - 1);
    return [{
      title: "Queue",
      keys: [
        key("ArrowDown", "↓", "Next row", () => this.move(1)),
        key("ArrowUp", "↑", "Row before", () => this.move(-1)),
        key("PageDown", "PageDown", "A page on", () => this.move(page())),
        key("PageUp", "PageUp", "A page back", () => this.move(-page())),
        key("Home", "Home", "First row", () => this.move(-1e9)),
        key("End", "End", "Last row", () => this.move(1e9)),
        key("Enter", "Enter", "Open the chosen video", () => this.enter()),
        key("/", "/", "Search", () => this.search.focus()),
      ],
    }];
  }
}
