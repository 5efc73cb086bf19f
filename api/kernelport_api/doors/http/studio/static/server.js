// What the page asks the server, and the one stream of events by which it learns what changes.

import { changes } from "./changes.js";
import { keep, kept } from "./kept.js";
import { words } from "./words.js";

/** What went wrong, in words that can be shown. */
export class Problem extends Error {
  /** @param {{status?: number, requestId?: string, violations?: {field: string, description: string}[]}} more */
  constructor(message, more) {
    super(message);
    Object.assign(this, more);
  }
}

/** By what an answer is found in the logs of the server. */
export const requestIdOf = (answer) => answer.headers.get("kernelport-request-id") ?? "";

/** What an answer that is an error says, in any of the shapes that routes have. */
async function problemOf(answer) {
  let told = {};
  try {
    const { error } = await answer.json();
    told = typeof error === "string" ? { message: error } : error;
  } catch {
    // it is not from the server itself, but from something before it
  }
  const { status } = answer;
  const { message, violations } = told;
  return new Problem(message || words.errors.status(status), { status, requestId: requestIdOf(answer), violations });
}

/**
 * An answer of the server, whose body is not read yet.
 * @param {FormData | Blob | object | undefined} body a form, bytes, or what is sent as JSON
 * @param {RequestInit} options of fetch
 * @throws {Problem} when there is none, or it is an error. An AbortError stays what it is.
 */
export async function request(method, path, body, options = {}) {
  const isJson = body !== undefined && !(body instanceof FormData || body instanceof Blob);
  const json = isJson ? { headers: { "content-type": "application/json" }, body: JSON.stringify(body) } : { body };
  let answer;
  try {
    answer = await fetch(path, { method, ...json, ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem((await isReadable(body)) ? words.errors.away : words.errors.unreadable);
  }
  if (answer.ok) return answer;
  if (answer.status === 401) change(() => (live.isSignedOut = true));
  throw await problemOf(answer);
}

/** Whether all files of a form can be read. */
async function isReadable(body) {
  const files = body instanceof FormData ? [...body.values()].filter((value) => value instanceof Blob) : [];
  try {
    for (const file of files) await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

/** What a route answers, as JSON. */
export const ask = async (method, path, body, options) => (await request(method, path, body, options)).json();

// The session itself is in a cookie that no page can read; this tells that there is one.
const SIGNED_IN = "kernelport-signed-in";

/** Whether this browser has a session. */
export const isSignedIn = () => kept("localStorage", SIGNED_IN) !== null;

/** Turns a key into a session of this browser. */
export async function signIn(key) {
  await ask("POST", "/api/session", { key });
  keep("localStorage", SIGNED_IN, "");
  change(() => (live.isSignedOut = false));
  connect();
}

/** Ends the session. */
export async function signOut() {
  await ask("DELETE", "/api/session");
  keep("localStorage", SIGNED_IN, null);
  connection?.abort();
  change(() => (live.isSignedOut = true));
}

/** How everything stands, by name or id. `isConnected` is null until the first try has ended. */
export const live = {
  isConnected: null,
  isSignedOut: false,
  deployments: new Map(),
  voices: new Map(),
  jobs: new Map(),
  figures: new Map(),
  workers: new Map(),
  autoscaler: null,
};
// Of an event: which map it is kept in, and by which of its keys.
const KEPT = {
  deployment: ["deployments", "name"],
  voice: ["voices", "name"],
  job: ["jobs", "id"],
  figures: ["figures", "name"],
  worker: ["workers", "id"],
};
const MAPS = Object.values(KEPT).map(([map]) => map);
const LEAST_WAIT_MS = 500;
const MOST_WAIT_MS = 10_000;
// The server says something every 15 seconds.
const MOST_SILENT_MS = 40_000;

const { subscribe, tell } = changes();
/** Calls a function whenever `live` has changed, once a frame at most. Gives what ends it. */
export { subscribe };

function change(make) {
  make();
  tell();
}

let connection = null;

/** Follows the events for as long as the page is open. After a break it begins anew, which catches up. */
export function connect() {
  connection?.abort();
  const mine = (connection = new AbortController());
  follow(mine.signal);
}

async function follow(signal) {
  let waitMs = LEAST_WAIT_MS;
  while (!signal.aborted && !live.isSignedOut) {
    const silent = new AbortController();
    let timer;
    const hear = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silent.abort(), MOST_SILENT_MS);
    };
    try {
      hear();
      const answer = await request("GET", "/api/events", undefined, { signal: AbortSignal.any([signal, silent.signal]) });
      waitMs = LEAST_WAIT_MS;
      await take(answer.body, hear);
    } catch {
      // it is told by the banner
    }
    clearTimeout(timer);
    if (signal.aborted) return;
    change(() => (live.isConnected = false));
    await Promise.race([
      new Promise((done) => setTimeout(done, waitMs * (0.5 + Math.random()))),
      new Promise((done) => addEventListener("online", done, { once: true })),
    ]);
    waitMs = Math.min(2 * waitMs, MOST_WAIT_MS);
  }
}

/** Takes in a stream of events. What it tells before its first `: now` is everything: it replaces what was known. */
async function take(body, hear) {
  const fresh = { autoscaler: null };
  for (const map of MAPS) fresh[map] = new Map();
  let state = fresh;
  for await (const { kind, data, comment } of events(body)) {
    hear();
    if (comment === "now" && state === fresh) {
      change(() => Object.assign(live, fresh, { isConnected: true }));
      state = live;
    } else if (kind && state === live) change(() => put(live, kind, data));
    else if (kind) put(fresh, kind, data);
  }
}

function put(state, kind, data) {
  if (kind === "autoscaler") state.autoscaler = data;
  else if (kind === "gone" && data.kind === "autoscaler") state.autoscaler = null;
  else if (kind === "gone") state[KEPT[data.kind]?.[0]]?.delete(data.name);
  else if (KEPT[kind]) state[KEPT[kind][0]].set(data[KEPT[kind][1]], data);
}

/** The server-sent events of a body, as `{kind, data}`, and its comments, as `{comment}`. Data is JSON. */
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const event = { kind: "message", data: undefined };
        for (const line of part.split("\n")) {
          if (line.startsWith("event: ")) event.kind = line.slice(7);
          else if (line.startsWith("data: ")) event.data = JSON.parse(line.slice(6));
          else if (line.startsWith(":")) yield { comment: line.slice(1).trim() };
        }
        if (event.data !== undefined) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
