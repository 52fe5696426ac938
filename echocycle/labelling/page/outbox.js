// What the reader does is kept in localStorage until the server says that it is on its disk.
// Actions go one after the other. Each has (client, seq), so that one that is sent twice is done once.

import { ApiError, post } from "./api.js";

const PREFIX = "echocycle-outbox:";
const REFUSED = "echocycle-refused";
const LONGEST_WAIT = 8000;

const load = (key, otherwise) => {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? otherwise;
  } catch {
    return otherwise;
  }
};

export class Outbox {
  constructor() {
    // A new client for each load of the page: a tab that is duplicated must not use the same numbers twice.
    this.client = crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random().toString(36).slice(2)}`;
    this.seq = 0;
    this.waiting = this.adopt();
    this.wait = 500;
    this.busy = false;
    this.listeners = new Set();
    this.answered = new Set();
    this.savedAt = null;
    window.addEventListener("online", () => this.send());
    if (this.waiting.length) this.send();
  }

  // Actions that an earlier load of the page could not send, oldest first.
  adopt() {
    const found = [];
    for (let i = 0; i < localStorage.length; i += 1) {
      const key = localStorage.key(i);
      if (key.startsWith(PREFIX)) found.push(load(key, null));
    }
    return found.filter(Boolean).sort((a, b) => a.made - b.made || a.seq - b.seq);
  }

  static key(action) {
    return `${PREFIX}${action.client}:${action.seq}`;
  }

  get refused() {
    return load(REFUSED, []);
  }

  forgetRefused() {
    localStorage.removeItem(REFUSED);
    this.tell();
  }

  get state() {
    if (this.waiting.length === 0) return "saved";
    return this.offline ? "waiting" : "saving";
  }

  onChange(listener) {
    this.listeners.add(listener);
    listener(this);
  }

  onAnswer(listener) {
    this.answered.add(listener);
  }

  tell() {
    for (const listener of this.listeners) listener(this);
  }

  add(action) {
    this.seq += 1;
    const whole = { ...action, client: this.client, seq: this.seq, made: Date.now() };
    try {
      localStorage.setItem(Outbox.key(whole), JSON.stringify(whole));
    } catch {
      // localStorage is full or forbidden: the action still waits in memory
    }
    this.waiting.push(whole);
    this.tell();
    this.send();
  }

  async send() {
    if (this.busy) return;
    this.busy = true;
    clearTimeout(this.timer);
    while (this.waiting.length) {
      const action = this.waiting[0];
      try {
        const { made, ...body } = action;
        this.done(action, await post("/api/actions", body));
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (error.lost || error.status === 403 || error.status === 401) {
          this.later(error);
          break;
        }
        this.refuse(action, error.message);
      }
    }
    this.busy = false;
  }

  done(action, answer) {
    this.remove(action);
    this.offline = null;
    this.wait = 500;
    this.savedAt = Date.now();
    this.tell();
    for (const listener of this.answered) listener(action, answer);
  }

  later(error) {
    this.offline = error.message;
    this.timer = setTimeout(() => this.send(), this.wait);
    this.wait = Math.min(LONGEST_WAIT, this.wait * 2);
    this.tell();
  }

  // The server will never take this one: it is kept for the reader to see, and the next one goes on.
  refuse(action, sentence) {
    localStorage.setItem(REFUSED, JSON.stringify([...this.refused.slice(-49), { ...action, sentence }]));
    this.remove(action);
    this.tell();
  }

  remove(action) {
    this.waiting = this.waiting.filter((each) => each !== action);
    localStorage.removeItem(Outbox.key(action));
  }
}
