// One answer: what came back, and, for what goes on, what happens until it has ended.

import { act, answerOf, call, eventsOf, follow, hasEnded, reason } from "./api.js";
import { h, newId, setText } from "./dom.js";
import { send } from "./key.js";
import { mediaIn, withoutLongMedia } from "./media.js";
import { code } from "./request.js";
import { duration, pretty, shortened } from "./text.js";

const HEADERS = ["X-Prediction-Id", "Location", "Retry-After", "Preference-Applied", "Allow"];
const MOST_SHOWN = 50_000;

/** JSON text, with the pictures that are in it. */
export function shownJSON(text, value, label) {
  const lines = shortened(pretty(withoutLongMedia(text)));
  return h("div", { class: "json" }, mediaIn(value), h("pre", { tabindex: 0, "aria-label": label }, lines));
}

/** A panel that shows one run of a request. */
export class Answer {
  constructor(title, request, opened) {
    const id = newId("answer");
    this.request = request;
    this.opened = opened;
    this.head = h("p", { class: "answer-head", role: "status" });
    this.facts = h("dl", { class: "headers" });
    this.bar = h("progress", { max: 1, "aria-label": "Progress", hidden: true });
    this.note = h("p", { class: "hint" });
    this.parts = h("pre", { class: "parts", tabindex: 0, "aria-label": "Parts of the result so far", hidden: true });
    this.log = h("pre", { class: "log", tabindex: 0, "aria-label": "Log", hidden: true });
    this.body = h("div", {});
    this.stop = h("button", { type: "button", class: "small" }, "Cancel");
    this.open = h("button", { type: "button", class: "small", hidden: true, onclick: () => this.opened(this.id) }, "Details");
    this.element = h("article", { class: "answer", "aria-labelledby": id },
      h("div", { class: "caption" }, h("h3", { id }, title), this.open, this.stop),
      this.head, this.bar, this.note, this.parts, this.body, this.log, this.facts, code(request));
    this.hangUp = new AbortController();
    this.close = () => this.hangUp.abort();
  }

  /** Sends the request, and shows all that comes of it. Returns the problem, if there was one. */
  async run() {
    const { path, headers, body } = this.request;
    this.begun = performance.now();
    this.stop.onclick = () => this.hangUp.abort();
    this.tell("working", "Waiting for the answer …");
    if (headers.Accept) return this.stream();
    const answer = await call("POST", path, { headers, body, signal: this.hangUp.signal });
    this.showHeaders(answer.headers);
    this.stop.hidden = true;
    if (answer.status === 202) this.follow(answer);
    else this.showAnswer(answer);
    return answer.ok ? null : answer;
  }

  /** A run whose events are its answer. */
  async stream() {
    const { path, headers, body } = this.request;
    const signal = this.hangUp.signal;
    try {
      const response = await send(path, { method: "POST", headers, body, signal });
      this.showHeaders(response.headers);
      if (!response.ok) {
        const problem = { ...answerOf(response, await response.text()), seconds: this.seconds() };
        this.showAnswer(problem);
        return problem;
      }
      for await (const event of eventsOf(response)) this.take(event.name, JSON.parse(event.data), event.data);
    } catch (error) {
      this.tell("failed", error.name === "AbortError" ? "You hung up." : "The connection was lost.");
    } finally {
      this.stop.hidden = true;
    }
    return null;
  }

  /** A 202: the run goes on, and its events tell how. */
  follow(answer) {
    this.id = answer.body.prediction_id;
    this.open.hidden = false;
    this.stop.hidden = false;
    this.stop.onclick = async () => {
      const canceled = await act(this.id, "cancel");
      if (!canceled.ok) this.note.textContent = reason(canceled);
    };
    this.accepted = `${answer.line} after ${duration(answer.seconds)}`;
    this.tell("working", this.accepted);
    this.note.textContent = answer.body.message;
    this.close = follow(this.id, (name, data, text) => this.take(name, data, text));
  }

  /** One event of the run. */
  take(name, data, text) {
    if (name === "progress") this.showProgress(data);
    else if (name === "output") this.append(this.parts, typeof data === "string" ? data : `${text}\n`);
    else if (name === "log") this.append(this.log, `${data.text}\n`);
    else if (name === "reset") this.parts.textContent = this.log.textContent = "";
    else if (hasEnded(data.status)) this.showRecord(data, text);
    else this.tell("working", [this.accepted, data.status].filter(Boolean).join(" · "));
  }

  showProgress({ fraction, text }) {
    this.bar.hidden = false;
    this.bar.value = fraction ?? 0;
    setText(this.note, text ?? "");
  }

  append(box, text) {
    box.hidden = false;
    box.textContent = (box.textContent + text).slice(-MOST_SHOWN);
    box.scrollTop = box.scrollHeight;
  }

  /** How a followed run ended. */
  showRecord(record, text) {
    this.bar.hidden = this.stop.hidden = true;
    this.note.textContent = "";
    const completed = record.status === "completed";
    this.tell(completed ? "done" : "failed", [this.accepted, `${record.status} after ${duration(this.seconds())}`].filter(Boolean).join(" · "));
    if (!completed) this.body.replaceChildren(h("p", { class: "error" }, record.detail ?? record.status));
    else {
      this.parts.hidden = true;
      this.body.replaceChildren(shownJSON(memberText(text, "result"), record.result, "Result"));
    }
  }

  showAnswer(answer) {
    const took = duration(answer.seconds);
    this.tell(answer.ok ? "done" : "failed", answer.status ? `${answer.line} · ${took}` : `No answer · ${took}`);
    if (!answer.text) this.body.replaceChildren(h("p", { class: "error" }, reason(answer)));
    else {
      const problem = answer.ok ? [] : [h("p", { class: "error" }, reason(answer))];
      this.body.replaceChildren(...problem, shownJSON(answer.text, answer.body?.result, "Body of the answer"));
    }
  }

  showHeaders(headers) {
    const there = HEADERS.filter((name) => headers.get(name) !== null);
    this.facts.replaceChildren(...there.map((name) => h("div", {}, h("dt", {}, name), h("dd", {}, headers.get(name)))));
  }

  tell(state, text) {
    this.element.dataset.state = state;
    setText(this.head, text);
  }

  seconds() {
    return (performance.now() - this.begun) / 1000;
  }
}

/** The text of one member of an object, as it is written there. */
export function memberText(text, name) {
  let depth = 0;
  let begin = -1;
  for (const { 0: token, index } of text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?|[{}[\],]/g)) {
    if ("{[".includes(token)) depth += 1;
    else if ("}]".includes(token)) {
      depth -= 1;
      if (begin >= 0 && depth === 0) return text.slice(begin, index);
    } else if (depth === 1 && token === "," && begin >= 0) return text.slice(begin, index);
    else if (depth === 1 && begin < 0 && token.endsWith(":") && JSON.parse(token.slice(0, -1)) === name) begin = index + token.length;
  }
  return "null";
}
