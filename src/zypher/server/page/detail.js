// One prediction, whole: its record, its times, what it tells as it runs.

import { act, call, follow, get, hasEnded, predictionPath, reason } from "./api.js";
import { memberText, shownJSON } from "./answer.js";
import { byId, h, say, setText } from "./dom.js";
import { duration, shortId } from "./text.js";

const FACTS = [
  ["Model", (record) => record.model],
  ["Priority", (record) => record.priority],
  ["Attempt", (record) => record.attempt],
  ["Crashes", (record) => record.crashes || null],
  ["Runs repeated", (record) => record.retried || null],
  ["Place in line", (record) => record.queue_position ?? null],
  ["Starts in about", (record) => (record.estimated_wait === undefined ? null : duration(record.estimated_wait))],
  ["API key", (record) => record.owner ?? null],
  ["Retry of", (record) => record.retry_of ?? null],
  ["Options", (record) => (Object.keys(record.options).length ? JSON.stringify(record.options) : null)],
  ["Code", (record) => record.code ?? null],
  ["Kept until", (record) => (record.expires ? new Date(record.expires).toLocaleString("en-GB") : null)],
];
const MOST_SHOWN = 50_000;
const PREFIX = "#prediction/";

export class Detail {
  /** `use(model, input)` is called to fill the form with an input. */
  constructor(use) {
    this.use = use;
    this.dialog = byId("detail");
    this.dialog.addEventListener("close", () => this.closed());
    this.dialog.addEventListener("click", (event) => { if (event.target === this.dialog) this.dialog.close(); });
    window.addEventListener("hashchange", () => this.followHash());
  }

  /** Shows the prediction that the page's address names, if it does. */
  followHash() {
    if (location.hash.startsWith(PREFIX)) this.show(decodeURIComponent(location.hash.slice(PREFIX.length)));
    else if (this.dialog.open) this.dialog.close();
  }

  open(id) {
    location.hash = PREFIX + encodeURIComponent(id);
  }

  async show(id) {
    this.stop?.();
    this.id = id;
    this.build(id);
    if (!this.dialog.open) this.dialog.showModal();
    await this.refresh();
    if (this.record && this.id === id && !hasEnded(this.record.status)) this.stop = follow(id, (...event) => this.take(...event));
  }

  build(id) {
    this.facts = h("dl", { class: "record" });
    this.timeline = h("ol", { class: "timeline", "aria-label": "Timeline" });
    this.status = h("p", { class: "answer-head", role: "status" });
    this.bar = h("progress", { max: 1, "aria-label": "Progress", hidden: true });
    this.note = h("p", { class: "hint" });
    this.input = h("div", {});
    this.result = h("div", {});
    this.parts = h("pre", { class: "parts", tabindex: 0, "aria-label": "Parts of the result", hidden: true });
    this.log = h("pre", { class: "log", tabindex: 0, "aria-label": "Log", hidden: true });
    const button = (text, does) => h("button", { type: "button", onclick: does, hidden: true }, text);
    this.buttons = {
      cancel: button("Cancel", () => this.act("cancel")),
      retry: button("Retry", () => this.act("retry")),
      forget: button("Forget", () => this.forget()),
      use: button("Use this input", () => { this.dialog.close(); this.use(this.record.model, this.record.input); }),
    };
    this.dialog.replaceChildren(
      h("div", { class: "head" }, h("h2", {}, `Prediction ${shortId(id)}`),
        h("button", { type: "button", class: "small", autofocus: true, onclick: () => this.dialog.close() }, "Close")),
      h("p", { class: "full-id" }, id), this.status, this.bar, this.note, this.timeline,
      h("div", { class: "actions" }, Object.values(this.buttons)), this.result, this.parts, this.log, this.facts, this.input,
    );
  }

  async refresh() {
    const id = this.id;
    const answer = await get(predictionPath(id));
    if (this.id !== id) return;
    this.record = answer.ok ? answer.body : null;
    if (answer.ok) this.fill(answer.body, answer.text);
    else setText(this.status, reason(answer));
  }

  fill(record, text) {
    const ended = hasEnded(record.status);
    this.dialog.dataset.status = record.status;
    setText(this.status, record.status);
    const facts = FACTS.map(([name, of]) => [name, of(record)]).filter(([, value]) => value !== null);
    this.facts.replaceChildren(...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value)))));
    this.timeline.replaceChildren(...timesOf(record));
    this.buttons.cancel.hidden = ended;
    this.buttons.retry.hidden = this.buttons.forget.hidden = !ended;
    this.buttons.use.hidden = false;
    this.input.replaceChildren(h("h3", {}, "Input"), shownJSON(memberText(text, "input"), record.input, "Input"));
    this.showEnd(record, text);
    if (record.progress && !ended) this.take("progress", record.progress);
    const lines = record.log ?? (record.logs ?? []).map((line) => line.text);
    if (lines.length) {
      this.log.hidden = false;
      this.log.textContent = `${lines.join("\n")}\n`;
    }
  }

  showEnd(record, text) {
    if (record.status === "completed") {
      this.parts.hidden = true;
      this.result.replaceChildren(h("h3", {}, "Result"), shownJSON(memberText(text, "result"), record.result, "Result"));
    } else if (hasEnded(record.status)) this.result.replaceChildren(h("p", { class: "error" }, record.detail ?? ""));
  }

  /** An event of its run. Those of the past come once more at the beginning. */
  take(name, data, text) {
    if (name === "progress") {
      this.bar.hidden = false;
      this.bar.value = data.fraction ?? 0;
      setText(this.note, data.text ?? "");
    } else if (name === "output") append(this.parts, typeof data === "string" ? data : `${text}\n`);
    else if (name === "log") {
      if (!this.hasFollowed) this.log.textContent = "";
      this.hasFollowed = true;
      append(this.log, `${data.text}\n`);
    } else if (name === "reset") this.parts.textContent = this.log.textContent = "";
    else {
      if (hasEnded(data.status)) {
        this.bar.hidden = true;
        this.note.textContent = "";
      }
      this.refresh();
    }
  }

  async act(action) {
    const answer = await act(this.id, action);
    if (!answer.ok) say(reason(answer));
    else if (action === "retry") this.open(answer.body.prediction_id);
    else await this.refresh();
  }

  async forget() {
    const answer = await call("DELETE", predictionPath(this.id));
    if (!answer.ok && answer.status !== 404) say(reason(answer));
    else {
      say(`${shortId(this.id)} is forgotten.`);
      this.dialog.close();
    }
  }

  closed() {
    this.stop?.();
    this.stop = null;
    this.hasFollowed = false;
    if (location.hash.startsWith(PREFIX)) history.replaceState(null, "", location.pathname + location.search);
  }
}

function append(box, text) {
  box.hidden = false;
  box.textContent = (box.textContent + text).slice(-MOST_SHOWN);
  box.scrollTop = box.scrollHeight;
}

/** When what happened, and how long it took until then. */
function timesOf(record) {
  const moments = [["submitted", record.created], ["started", record.started], [record.status, record.finished]];
  const known = moments.filter(([, time]) => time);
  return known.map(([name, time], place) => {
    const before = known[place - 1]?.[1];
    const later = before && `${duration((Date.parse(time) - Date.parse(before)) / 1000)} later`;
    return h("li", {}, h("strong", {}, name), h("time", { datetime: time }, new Date(time).toLocaleTimeString("en-GB")), h("span", { class: "hint" }, later ?? ""));
  });
}
