// Calls of the API. All addresses are relative: the page works behind any prefix.

import { send } from "./key.js";

const PAUSE = 1000;

/** One call: `{status, ok, headers, text, body, seconds}`; status 0 if nobody answered. */
export async function call(method, path, { headers = {}, body, signal } = {}) {
  const begun = performance.now();
  const seconds = () => (performance.now() - begun) / 1000;
  try {
    const response = await send(path, { method, headers, body, signal });
    const text = await response.text();
    return { ...answerOf(response, text), seconds: seconds() };
  } catch (error) {
    const detail = error.name === "AbortError" ? "You hung up." : "The server did not answer.";
    return { status: 0, ok: false, headers: new Headers(), text: "", body: { detail }, seconds: seconds() };
  }
}

/** What a response and its text say. */
export const answerOf = (response, text) => ({
  status: response.status,
  line: `${response.status} ${response.statusText}`.trim(),
  ok: response.ok,
  headers: response.headers,
  text,
  body: parsed(text),
});

export const get = (path) => call("GET", path);

/** Where one prediction is found. */
export const predictionPath = (id, action = "") => `predictions/${encodeURIComponent(id)}${action && `/${action}`}`;

/** Does something to a prediction: cancel or retry it. */
export const act = (id, action) => call("POST", predictionPath(id, action));

/** What went wrong, in a sentence. */
export const reason = (answer) => answer.body?.detail ?? `The answer was ${answer.status}.`;

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** The server-sent events of a response, each as `{name, data, id}`. */
export async function* eventsOf(response) {
  let rest = "";
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const event = eventOf(block);
        if (event.data !== undefined) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // who has heard enough hangs up
  }
}

function eventOf(block) {
  const event = { name: "message" };
  for (const line of block.split("\n")) {
    const [, field, value] = /^(\w*): ?(.*)$/.exec(line) ?? [];
    if (field === "event") event.name = value;
    else if (field) event[field] = field === "data" && event.data !== undefined ? `${event.data}\n${value}` : value;
  }
  return event;
}

/**
 * Follows one prediction: `tell(name, data, text)` for each event, until it has ended. Returns what
 * ends the following. It comes back by itself when the connection is lost, as an EventSource does,
 * which cannot send a key.
 */
export function follow(id, tell) {
  const hangUp = new AbortController();
  followOn(predictionPath(id, "events"), tell, hangUp.signal);
  return () => hangUp.abort();
}

async function followOn(path, tell, signal) {
  let last;
  while (!signal.aborted) {
    const { status, events } = await listen(path, { headers: last ? { "Last-Event-ID": last } : {}, signal });
    if (status !== 0 && status !== 200 && status !== 429 && status < 500) return;
    for await (const { name, data, id } of events) {
      last = id ?? last;
      const value = JSON.parse(data);
      tell(name, value, data);
      if (name === "status" && hasEnded(value.status)) return;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
}

/**
 * Listens to a stream of events, over one connection: `{status, events}`; status 0 if nobody answered.
 * The events end with the stream, and also when the connection is lost or given up.
 */
export async function listen(path, options) {
  try {
    const response = await send(path, options);
    return { status: response.status, events: response.status === 200 ? untilLost(response) : [] };
  } catch {
    return { status: 0, events: [] };
  }
}

async function* untilLost(response) {
  try {
    yield* eventsOf(response);
  } catch { // of the connection: what is done with the events is done elsewhere
  }
}

export const hasEnded = (status) => status !== "queued" && status !== "processing";
