// Keys: one list for each screen says what a key does, and the help overlay shows that same list.

import { h } from "./dom.js";

// "Ctrl+z", "Shift+ArrowLeft", "?", "e": letters small, Shift named only where the key itself does not tell.
export function nameOf(event) {
  const one = event.key.length === 1;
  const letter = one && /\p{L}/u.test(event.key);
  const parts = [];
  if (event.ctrlKey || event.metaKey) parts.push("Ctrl");
  if (event.altKey) parts.push("Alt");
  if (event.shiftKey && (!one || letter)) parts.push("Shift");
  parts.push(event.key === " " ? "Space" : letter ? event.key.toLowerCase() : event.key);
  return parts.join("+");
}

const writes = (target) =>
  target.matches?.("input:not([type=range]):not([type=checkbox]), textarea, select, [contenteditable]");
const presses = (target) => target.closest?.("button, a[href], summary, [role=option]");

export class Keys {
  constructor() {
    this.groups = [];
    this.overlay = null;
    document.addEventListener("keydown", (event) => this.press(event));
  }

  // groups: [{title, keys: [{on: ["e"], show: "E", words, run}]}]
  set(groups) {
    this.groups = groups;
  }

  press(event) {
    const name = nameOf(event);
    if (document.querySelector("dialog[open]")) return;
    if (writes(event.target)) {
      if (name === "Escape") event.target.blur();
      return;
    }
    if ((name === "Space" || name === "Enter") && presses(event.target)) return;
    if (event.target.matches?.("input[type=range]") && name.startsWith("Arrow")) return;
    for (const { keys } of this.groups) {
      const found = keys.find((key) => key.on?.includes(name));
      if (!found) continue;
      event.preventDefault();
      found.run(event);
      return;
    }
  }

  help() {
    const shown = (key) => key.gesture || key.show.split(" ").map((each) => (each === "+" && key.show !== "+" ? " + " : h("kbd", each)));
    const dialog = h(
      "dialog.help",
      { "aria-labelledby": "help-title" },
      h("header", h("h2", { id: "help-title" }, "Keys and gestures"), closeButton(() => dialog.close())),
      h(
        "div.help-groups",
        this.groups.map(({ title, keys }) =>
          h("section", h("h3", title), h("dl", keys.filter((key) => key.show || key.gesture).map((key) => h("div", h("dt", shown(key)), h("dd", key.words))))),
        ),
      ),
    );
    open(dialog);
  }
}

export const closeButton = (run) => h("button.quiet.small", { type: "button", onclick: run }, "Close");

// A dialog that is gone from the page when it is closed, also by Escape or a click beside it.
export function open(dialog) {
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.showModal();
}
