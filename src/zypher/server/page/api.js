// Calls of the API. All addresses are relative: the page works behind any prefix.

/** One call: `{status, ok, headers, text, body, seconds}`; status 0 if nobody answered. */
export async function call(method, path, { headers = {}, body, signal } = {}) {
  const begun = performance.now();
  const seconds = () => (performance.now() - begun) / 1000;
  try {
    const response = await fetch(path, { method, headers, body, signal, cache: "no-store" });
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

const TOLD = ["status", "progress", "output", "log", "reset"];

/**
 * Follows one prediction: `tell(name, data)` for each event, until it has ended. Returns what
 * ends the following. The browser comes back by itself when the connection is lost.
 */
export function follow(id, tell) {
  const source = new EventSource(predictionPath(id, "events"));
  for (const name of TOLD) {
    source.addEventListener(name, (event) => {
      const data = JSON.parse(event.data);
      if (name === "status" && hasEnded(data.status)) source.close();
      tell(name, data, event.data);
    });
  }
  return () => source.close();
}

export const hasEnded = (status) => status !== "queued" && status !== "processing";
