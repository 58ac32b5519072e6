// The server: what does not work, the replicas, the workers, and what is guaranteed.

import { byId, h, setText, showKeyed } from "./dom.js";

/** Shows how the server stands. */
export function showServer({ models, workers, degraded, guarantee }) {
  showDegraded(degraded);
  setText(byId("guarantee"), guarantee);
  showKeyed(byId("replicas"), Object.entries(models), ([name]) => name, makeFact, (row, [name, { replicas }]) => {
    fill(row, stateOf(replicas), name, words(replicas), replicas.suspended ?? replicas.failure);
  });
  showKeyed(byId("workers"), workers, (worker) => worker.id, makeFact, (row, worker) => {
    const runs = Object.entries(worker.replicas).map(([name, counts]) => `${name}: ${words(counts)}`);
    const late = worker.stale_outcomes ? `${worker.stale_outcomes} outcomes came too late` : "";
    const isReady = Object.values(worker.replicas).some((counts) => counts.ready);
    fill(row, isReady ? "good" : "so-so", `${worker.host}, process ${worker.pid}`, [...runs, late].filter(Boolean).join("; "), null);
  });
}

/** The sentences about what does not work. */
export function showDegraded(degraded) {
  showKeyed(byId("degraded"), degraded, (text) => text, (text) => h("li", {}, text), () => {});
  byId("degraded").hidden = !degraded.length;
}

function stateOf({ ready, starting, suspended, pause }) {
  if (!ready || pause) return "bad";
  return starting || suspended ? "so-so" : "good";
}

function words({ ready, starting, slots }) {
  const replicas = `${ready} ready`;
  const more = starting ? `, ${starting} starting` : "";
  return `${replicas}${more}, ${slots} ${slots === 1 ? "run" : "runs"} at once`;
}

function makeFact() {
  return h("li", {}, h("span", { class: "dot", "aria-hidden": "true" }), h("strong", {}), h("span", {}), h("p", { class: "error" }));
}

function fill(row, state, name, text, failure) {
  row.dataset.state = state;
  setText(row.children[1], name);
  setText(row.children[2], text);
  setText(row.children[3], failure ?? "");
  row.children[3].hidden = !failure;
}
