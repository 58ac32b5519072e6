// One prediction in a list: how it stands, and what can be done to it.

import { act, hasEnded, reason } from "./api.js";
import { h, say, setText } from "./dom.js";
import { clock, duration, shortId } from "./text.js";

/** How much the server's clock is ahead of the browser's, in milliseconds. */
export const skew = { of: 0 };

const now = () => Date.now() + skew.of;
const since = (time) => (now() - Date.parse(time)) / 1000;
const between = (from, to) => (Date.parse(to) - Date.parse(from)) / 1000;

/** A row; `open(id)` is called when somebody wants to see more. */
export function makeRow(open) {
  return (record) => {
    const id = record.prediction_id;
    const short = shortId(id);
    const row = h("li", { class: "row" });
    row.parts = {
      dot: h("span", { class: "dot", "aria-hidden": "true" }),
      open: h("button", { type: "button", class: "id", "aria-label": `Open ${short}`, title: id, onclick: () => open(id) }, short),
      model: h("span", { class: "model" }),
      status: h("span", { class: "row-status" }),
      time: h("span", { class: "time" }),
      cancel: h("button", { type: "button", class: "small", "aria-label": `Cancel ${short}`, onclick: () => doTo(row, "cancel") }, "Cancel"),
      retry: h("button", { type: "button", class: "small", "aria-label": `Retry ${short}`, onclick: () => doTo(row, "retry") }, "Retry"),
      bar: h("progress", { max: 1, "aria-label": `Progress of ${short}`, hidden: true }),
      note: h("span", { class: "note", hidden: true }),
      tail: h("p", { class: "tail", hidden: true }),
    };
    const { dot, open: opener, model, status, time, cancel, retry, bar, note, tail } = row.parts;
    row.append(dot, opener, model, status, time, h("span", { class: "row-actions" }, cancel, retry), h("div", { class: "more" }, bar, note, tail));
    return row;
  };
}

/** Shows how a prediction stands now. */
export function updateRow(row, record) {
  const { parts } = row;
  const ended = hasEnded(record.status);
  row.record = record;
  row.dataset.status = record.status;
  setText(parts.model, record.model);
  setText(parts.status, statusOf(record));
  parts.time.title = new Date(record.created).toLocaleString("en-GB");
  parts.cancel.hidden = ended;
  parts.retry.hidden = !ended;
  showProgress(parts, ended ? null : record.progress);
  const tail = ended ? "" : (record.output ?? record.log ?? "");
  parts.tail.hidden = !tail;
  setText(parts.tail, tail.slice(-160));
  if (ended && record.detail && record.status === "failed") {
    parts.note.hidden = false;
    setText(parts.note, record.detail);
  }
  tickRow(row);
}

function statusOf({ status, priority, attempt, retry_of: again }) {
  const words = [status === "processing" ? "running" : status === "queued" ? "waiting" : status];
  if (priority !== "normal") words.push(`${priority} priority`);
  if (attempt > 1) words.push(`attempt ${attempt}`);
  if (again) words.push(`retry of ${shortId(again)}`);
  return words.join(" · ");
}

function showProgress({ bar, note }, progress) {
  bar.hidden = note.hidden = !progress;
  if (!progress) return;
  bar.value = progress.fraction ?? 0;
  setText(note, [`${Math.round((progress.fraction ?? 0) * 100)} %`, progress.text].filter(Boolean).join(" · "));
}

/** Shows how long it has been so. */
export function tickRow(row) {
  const { status, created, started, finished } = row.record;
  const text = {
    queued: () => `for ${duration(since(created))}`,
    processing: () => `for ${duration(since(started ?? created))}`,
  }[status] ?? (() => `${clock(finished ?? created)} · ${duration(between(started ?? created, finished ?? created))}`);
  setText(row.parts.time, text());
}

async function doTo(row, action) {
  const { cancel, retry } = row.parts;
  cancel.disabled = retry.disabled = true;
  const answer = await act(row.record.prediction_id, action);
  cancel.disabled = retry.disabled = false;
  const short = shortId(row.record.prediction_id);
  if (!answer.ok) say(reason(answer));
  else if (action === "cancel") {
    say(`${short} is canceled.`);
    updateRow(row, { ...row.record, ...answer.body, progress: undefined });
  } else say(`${short} runs again as ${shortId(answer.body.prediction_id)}.`);
}
