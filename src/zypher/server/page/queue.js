// The queue: counts by model, what runs, waits and has ended, and the list of all.

import { get, reason } from "./api.js";
import { byId, h, say, setText, showKeyed } from "./dom.js";
import { makeRow, tickRow, updateRow } from "./rows.js";
import { count, duration, rate } from "./text.js";

const PAGE = 25;
const PATIENCE = 2000;

const idOf = (record) => record.prediction_id;

export class Queue {
  constructor(open) {
    this.make = makeRow(open);
    this.now = { waiting: [], running: [], ended: [] };
    this.cursors = [];
    byId("show").addEventListener("change", () => this.choose());
    byId("show-model").addEventListener("change", () => this.choose());
    byId("newest").addEventListener("click", () => this.choose());
    byId("older").addEventListener("click", () => this.page(this.next));
    setInterval(() => this.tick(), 1000);
  }

  get status() { return byId("show").value; }

  get model() { return byId("show-model").value; }

  /** What is true of each model. */
  showStats(stats) {
    const models = Object.entries(stats.models);
    this.stats = stats.models;
    showKeyed(byId("models"), models, ([name]) => name, makeModel, updateModel);
    const names = models.map(([name]) => name);
    if (names.join("\n") !== this.names) {
      this.names = names.join("\n");
      const chosen = this.model;
      byId("show-model").replaceChildren(h("option", { value: "" }, "all models"), ...names.map((name) => h("option", { value: name }, name)));
      byId("show-model").value = names.includes(chosen) ? chosen : "";
      byId("show-model-choice").hidden = names.length < 2;
    }
    this.showTitles();
  }

  /** What waits, runs and ended last. A list that is shown may have changed with it. */
  showPredictions(now) {
    this.now = now;
    this.showBoard();
    if (this.status) this.refreshSoon();
  }

  showBoard() {
    const ofModel = (record) => !this.model || record.model === this.model;
    for (const name of ["running", "waiting", "ended"]) {
      showKeyed(byId(name), this.now[name].filter(ofModel), idOf, this.make, updateRow);
    }
    this.showTitles();
  }

  showTitles() {
    const sum = (name) => Object.entries(this.stats ?? {}).reduce((all, [model, one]) => all + (!this.model || model === this.model ? one[name] : 0), 0);
    const title = (name, number) => {
      const shown = byId(name).childElementCount;
      const more = number > shown && shown ? `, ${count(shown)} shown` : "";
      return `${count(number)}${more}`;
    };
    setText(byId("running-title"), `Running (${title("running", sum("processing"))})`);
    setText(byId("waiting-title"), `Waiting (${title("waiting", sum("queued"))})`);
    for (const id of ["ended-title", "ended"]) byId(id).hidden = !byId("ended").childElementCount;
  }

  /** Another filter, from the newest on. */
  choose() {
    byId("board").hidden = Boolean(this.status);
    byId("list").hidden = !this.status;
    this.showBoard();
    if (this.status) this.page("");
  }

  /** Shows one page of the list, in the place of the one before. */
  async page(cursor) {
    const query = new URLSearchParams({ limit: PAGE });
    if (this.status !== "all") query.set("status", this.status);
    if (this.model) query.set("model", this.model);
    if (cursor) query.set("cursor", cursor);
    const asked = query.toString();
    this.asked = asked;
    const answer = await get(`predictions?${asked}`);
    if (this.asked !== asked) return; // another one was asked for meanwhile
    if (!answer.ok) {
      say(reason(answer));
      return;
    }
    this.cursor = cursor;
    this.next = answer.body.cursor;
    byId("older").disabled = !this.next;
    byId("newest").disabled = !cursor;
    showKeyed(byId("listed"), answer.body.predictions, idOf, this.make, updateRow);
  }

  refreshSoon() {
    this.refreshing ??= setTimeout(() => {
      this.refreshing = null;
      if (this.status) this.page(this.cursor);
    }, PATIENCE);
  }

  /** Times go on, but only while what is shown is live. */
  tick() {
    if (document.body.dataset.live !== "yes" || document.hidden) return;
    for (const row of byId("queue").querySelectorAll(".row")) tickRow(row);
  }
}

const FIGURES = [
  ["waiting", (one) => count(one.queued)],
  ["running", (one) => count(one.processing)],
  ["completed", (one) => count(one.completed)],
  ["failed", (one) => count(one.failed)],
  ["canceled", (one) => count(one.canceled)],
  ["last minute", (one) => rate(one.rate)],
  ["a run takes", (one) => duration(one.service_time)],
];

function makeModel([name]) {
  const figures = FIGURES.map(([label]) => [h("dt", {}, label), h("dd", {})]);
  const element = h("div", { class: "figures" }, h("h3", {}, name),
    h("dl", {}, figures.map((pair) => h("div", {}, pair))), h("p", { class: "hint lanes" }));
  element.figures = figures.map(([, dd]) => dd);
  return element;
}

function updateModel(element, [, one]) {
  FIGURES.forEach(([label, text], place) => {
    setText(element.figures[place], text(one));
    if (label === "failed") element.figures[place].classList.toggle("bad", one.failed > 0);
  });
  const { high, normal, low } = one.waiting;
  const paused = one.paused ? `, ${count(one.paused)} between two runs` : "";
  const lanes = one.queued ? `Waiting: ${count(high)} high, ${count(normal)} normal, ${count(low)} low${paused}; the oldest for ${duration(one.oldest_queued_age)}.` : "";
  setText(element.lastElementChild, lanes);
  element.lastElementChild.hidden = !lanes;
}
