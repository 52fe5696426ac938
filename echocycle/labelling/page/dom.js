// Elements made of a few words, and numbers and times written one way everywhere.

// h("button.primary", {onclick, title}, "Text", child): an element; `null` children are left out.
export function h(what, ...rest) {
  const [tag, ...classes] = what.split(".");
  const made = document.createElement(tag);
  if (classes.length) made.className = classes.join(" ");
  for (const each of rest.flat(3)) add(made, each);
  return made;
}

function add(made, each) {
  if (each === null || each === undefined || each === false) return;
  if (each instanceof Node) made.append(each);
  else if (typeof each !== "object") made.append(String(each));
  else for (const [name, value] of Object.entries(each)) set(made, name, value);
}

function set(made, name, value) {
  if (value === null || value === undefined) return;
  if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
  else if (name === "style") Object.assign(made.style, value);
  else if (name in made && typeof made[name] !== "object" && !name.includes("-")) made[name] = value;
  else if (value !== false) made.setAttribute(name, value === true ? "" : value);
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.flat().filter(Boolean));
  return made;
}

// Small line icons: one path each in a square of 24.
const ICONS = {
  queue: "M4 6h16M4 12h16M4 18h10",
  trace: "M12 3c5 0 6 6 6 10s-2 8-6 8-6-4-6-8 1-10 6-10z",
  train: "M4 19h16M5 15l4-5 4 3 6-8",
  review: "M4 12l5 5L20 6",
  play: "M7 4.5v15l12-7.5z",
  pause: "M8 5v14M16 5v14",
  back: "M15 5l-7 7 7 7",
  forward: "M9 5l7 7-7 7",
  undo: "M8 5L4 9l4 4M4 9h10a6 6 0 010 12h-3",
  redo: "M16 5l4 4-4 4M20 9H10a6 6 0 000 12h3",
  light: "M12 7.5a4.5 4.5 0 100 9 4.5 4.5 0 000-9zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.400M17.6 17.600L19 19M19 5l-1.4 1.400M6.4 17.600L5 19",
  dark: "M20 14.500A8.5 8.5 0 119.5 4a7 7 0 0010.5 10.500z",
  search: "M10.5 4a6.5 6.5 0 100 13 6.5 6.5 0 000-13zM15.5 15.500L20 20",
  zoom: "M10.5 4a6.5 6.5 0 100 13 6.5 6.5 0 000-13zM15.5 15.5L20 20M7.8 10.5h5.4M10.5 7.8v5.4",
  stop: "M6 6h12v12H6z",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  export: "M12 4v11M7.5 11L12 15.5 16.5 11M5 20h14",
  new: "M12 5a7 7 0 100 14 7 7 0 000-14z",
  proposed: "M12 5a7 7 0 100 14M12 5a7 7 0 017 7",
  traced: "M12 5a7 7 0 100 14 7 7 0 000-14zM9 12l2.2 2.200L15 10",
  checked: "M3.5 12.500l4 4 8-9M11 15.500l1 1 8-9",
  skipped: "M12 5a7 7 0 100 14 7 7 0 000-14zM7.2 7.200l9.6 9.6",
  star: "M12 4l2.4 5 5.6.700-4.1 3.8 1.1 5.5-5-2.8-5 2.8 1.1-5.500L4 9.7 9.6 9z",
};

export function icon(name) {
  const filled = name === "play" || name === "stop" ? " filled" : "";
  return svg(
    "svg",
    { viewBox: "0 0 24 24", class: `icon${filled}`, "aria-hidden": "true", focusable: "false" },
    svg("path", { d: ICONS[name] }),
  );
}

export const number = (value, digits = 0) =>
  value === null || value === undefined || !Number.isFinite(value) ? "–" : value.toFixed(digits).replace("-", "−");

export const percent = (value, digits = 0) =>
  value === null || value === undefined || !Number.isFinite(value) ? "–" : `${number(value, digits)} %`;

export function count(n, one, many = `${one}s`) {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "";
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

// Replace what an element holds, and only where the words differ: nothing flickers, no reader is told twice.
export function text(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

// A patient's name as it is shown; names that already say so are not said twice.
export const patientOf = ({ patient }) => (!patient ? null : /^patient/i.test(patient) ? patient : `Patient ${patient}`);

export const STATES = {
  new: "New",
  proposed: "Proposed",
  traced: "Traced",
  checked: "Checked",
  skipped: "Skipped",
};

export const stateMark = (state) => h(`span.state.${state}`, icon(state), STATES[state] || state);
