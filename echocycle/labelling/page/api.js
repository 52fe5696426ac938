// The way to the server: the token, JSON in and out, and one kind of error with a sentence.

const KEY = "echocycle-token";

// The token comes with the first address, stays in this tab, and leaves the address bar.
function takeToken() {
  const address = new URL(window.location.href);
  const given = address.searchParams.get("token");
  if (given) {
    sessionStorage.setItem(KEY, given);
    address.searchParams.delete("token");
    window.history.replaceState(null, "", address.pathname + address.search + address.hash);
  }
  return given || sessionStorage.getItem(KEY) || "";
}

export const token = takeToken();

export class ApiError extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status; // 0: no answer at all
  }

  get lost() {
    return this.status === 0 || this.status >= 500;
  }
}

const listeners = new Set();
let online = true;

export function onConnection(listener) {
  listeners.add(listener);
  listener(online);
}

function connection(now) {
  if (now === online) return;
  online = now;
  for (const listener of listeners) listener(online);
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { "X-Token": token, ...options.headers }, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    connection(false);
    throw new ApiError("The server does not answer. Is `echocycle label` still running?", 0);
  }
  connection(true);
  if (answer.ok) return answer;
  let sentence = `The server answered ${answer.status}.`;
  try {
    const body = await answer.json();
    if (typeof body.detail === "string") sentence = body.detail;
  } catch {
    // an answer without JSON: its number has to do
  }
  if (answer.status === 403) sentence = "This address is old. Open the one that the terminal shows now.";
  throw new ApiError(sentence, answer.status);
}

export const get = async (path, options) => (await ask(path, options)).json();

export const getBlob = async (path, options) => (await ask(path, options)).blob();

export async function post(path, body = {}) {
  const answer = await ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  return answer.json();
}

// Addresses for <img> and downloads, which cannot send a header.
export const media = (path) => `${path}${path.includes("?") ? "&" : "?"}token=${encodeURIComponent(token)}`;

export const query = (values) => {
  const kept = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return new URLSearchParams(kept).toString();
};
