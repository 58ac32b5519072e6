// Puts the page together.

import { get } from "./api.js";
import { Detail } from "./detail.js";
import { byId, setText } from "./dom.js";
import { Door } from "./door.js";
import { Live } from "./live.js";
import { Plots } from "./plots.js";
import { Queue } from "./queue.js";
import { skew } from "./rows.js";
import { showDegraded, showServer } from "./server.js";
import { clock } from "./text.js";
import { Try } from "./try.js";

const detail = new Detail((model, input) => attempt.use(model, input));
const attempt = new Try((id) => detail.open(id));
const queue = new Queue((id) => detail.open(id));
const plots = new Plots();
const live = new Live(hear, (state) => ({ live: back, away: gone, locked })[state]());
const door = new Door(opened);

let known = null; // the signatures of the models whose schemas are shown
let lastTold = null;

function hear(name, data) {
  if (name === "stats") showStats(data);
  else if (name === "predictions") queue.showPredictions(data);
  else if (name === "history") plots.begin(data);
  else if (name === "sample") plots.add(data);
  else if (name === "away") brokerAway(data);
}

function showStats(stats) {
  skew.of = Date.parse(stats.time) - Date.now();
  lastTold = Date.now();
  setLive(true);
  showStatus(stats.status === "ready" && stats.degraded.length ? "degraded" : stats.status);
  queue.showStats(stats);
  showServer(stats);
  const signatures = JSON.stringify(stats.signatures);
  if (signatures !== known) learn(signatures);
}

/** Asks for the models: there are others than before, or they take something else. */
async function learn(signatures) {
  known = signatures;
  const answer = await get("models");
  if (!answer.ok) {
    known = null;
    return;
  }
  attempt.show(answer.body.models);
  const [first] = answer.body.models;
  const title = first ? `${first.name} · Zypher` : "Zypher";
  if (document.title !== title) document.title = title;
}

const STATUS = { ready: "Ready", degraded: "Ready, with trouble", starting: "Starting", failing: "Cannot serve", draining: "Shutting down", locked: "Key needed" };

function showStatus(status) {
  byId("status").dataset.state = status;
  setText(byId("status-text"), STATUS[status] ?? status);
}

/** The server answers, but its queue is away. */
function brokerAway({ status, degraded }) {
  setLive(false);
  showStatus(status);
  showDegraded(degraded);
  banner(`The queue cannot be reached${asOf()}. ${degraded.join(" ")}`);
}

function gone() {
  setLive(false);
  showStatus("away");
  setText(byId("status-text"), "Away");
  banner(`The server cannot be reached${asOf()}. This page tries again by itself.`);
}

/** It is there, but asks for a key. */
function locked() {
  setLive(false);
  delete document.body.dataset.live; // it is not away: nothing comes back with the key
  showStatus("locked");
  banner("This server asks for an API key.");
}

/** There is a key now. */
function opened() {
  live.retry();
  detail.followHash();
}

/** It is there again: what it is told now is new, also which models there are. */
function back() {
  known = null;
}

const asOf = () => (lastTold ? `; what is shown is of ${clock(lastTold)}` : "");

function setLive(isLive) {
  const was = document.body.dataset.live;
  document.body.dataset.live = isLive ? "yes" : "no";
  byId("as-of").hidden = isLive;
  setText(byId("as-of"), lastTold ? `as of ${clock(lastTold)}` : "");
  if (isLive && was === "no") banner("It is back.", 4000);
}

let hiding;

function banner(text, forMilliseconds) {
  clearTimeout(hiding);
  byId("banner").hidden = false;
  byId("banner").dataset.good = forMilliseconds ? "yes" : "no";
  setText(byId("banner"), text);
  if (forMilliseconds) hiding = setTimeout(() => { byId("banner").hidden = true; }, forMilliseconds);
}

byId("show-model").addEventListener("change", () => plots.draw());
live.connect();
detail.followHash();
