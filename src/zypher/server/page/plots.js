// Plots of the last minutes: drawn by hand, each with its meaning in words.

import { byId, h, s, setText, showKeyed } from "./dom.js";
import { count, duration, rate } from "./text.js";

const MINUTE = 60_000;
const LONGEST = 5; // minutes
const WIDTH = 300;
const HEIGHT = 72;
const GAP = 7000; // what lies further apart is not joined

const PLOTS = [
  { title: "Throughput", value: (one) => one.throughput, text: rate, least: 0.2, smooth: 5 },
  { title: "Time of a run", value: (one) => one.service_time, text: duration, least: 0.01, smooth: 1 },
  { title: "Waiting", value: (one) => one.queued, text: count, least: 4, smooth: 1 },
];

export class Plots {
  constructor() {
    this.samples = [];
    byId("plots").append(...PLOTS.map((plot) => {
      plot.svg = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
      plot.begin = h("span", {});
      plot.most = h("span", { class: "most" });
      plot.legend = h("ul", { class: "legend" });
      return h("figure", { class: "plot" },
        h("figcaption", {}, plot.title, plot.most), plot.svg,
        h("p", { class: "axis", "aria-hidden": "true" }, plot.begin, h("span", {}, "now")), plot.legend);
    }));
  }

  /** Begins anew, with all samples of the last minutes. */
  begin(samples) {
    this.samples = samples.map(timed);
    this.draw();
  }

  add(sample) {
    this.samples.push(timed(sample));
    this.draw();
  }

  draw(model = byId("show-model").value) {
    const end = this.samples.at(-1)?.at ?? Date.now();
    this.samples = this.samples.filter((sample) => sample.at > end - LONGEST * MINUTE);
    const minutes = Math.max(1, Math.ceil((end - (this.samples[0]?.at ?? end)) / MINUTE));
    const names = Object.keys(this.samples.at(-1)?.models ?? {}).filter((name) => !model || name === model);
    for (const plot of PLOTS) this.drawOne(plot, names, end, minutes);
  }

  drawOne(plot, names, end, minutes) {
    const lines = names.map((name) => smoothed(this.points(plot, name), plot.smooth));
    const values = lines.flat().map((point) => point.value);
    const most = Math.max(plot.least, ...values); // of the axis: nothing looks like much
    const x = (at) => WIDTH * (1 - (end - at) / (minutes * MINUTE));
    const y = (value) => HEIGHT - 3 - (HEIGHT - 8) * (value / most);
    const paths = lines.map((line, place) => s("path", { class: `line line-${place % 4}`, d: path(line, x, y) }));
    const area = lines.length === 1 ? [s("path", { class: "area", d: areaUnder(lines[0], x, y) })] : [];
    plot.svg.replaceChildren(s("line", { class: "ground", x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1 }), ...area, ...paths);
    setText(plot.begin, `${minutes} min ago`);
    setText(plot.most, values.length ? `most ${plot.text(Math.max(...values))}` : "");
    const now = names.map((name, place) => ({ name, place, value: lines[place].at(-1)?.value }));
    plot.svg.setAttribute("aria-label", describe(plot, now, lines, minutes));
    showKeyed(plot.legend, now, (one) => one.name, makeKey, (key, one) => {
      key.firstElementChild.setAttribute("class", `key line-${one.place % 4}`);
      setText(key.lastElementChild, plot.text(one.value ?? null));
    });
  }

  points(plot, name) {
    return this.samples
      .map(({ at, models }) => ({ at, value: models[name] ? plot.value(models[name]) : null }))
      .filter((point) => point.value !== null && point.value !== undefined);
  }
}

const timed = (sample) => ({ at: Date.parse(sample.time), models: sample.models });

/** Each value is the mean of so many before it: single ends make no throughput. */
function smoothed(points, width) {
  if (width === 1) return points;
  return points.map((point, place) => {
    const last = points.slice(Math.max(0, place - width + 1), place + 1);
    return { at: point.at, value: last.reduce((sum, one) => sum + one.value, 0) / last.length };
  });
}

function path(points, x, y) {
  return points.map((point, place) => {
    const joined = place > 0 && point.at - points[place - 1].at < GAP;
    return `${joined ? "L" : "M"}${x(point.at).toFixed(1)} ${y(point.value).toFixed(1)}`;
  }).join("");
}

function areaUnder(points, x, y) {
  if (points.length < 2) return "";
  const line = points.map((point) => `L${x(point.at).toFixed(1)} ${y(point.value).toFixed(1)}`).join("");
  return `M${x(points[0].at).toFixed(1)} ${HEIGHT}${line}L${x(points.at(-1).at).toFixed(1)} ${HEIGHT}Z`;
}

function describe(plot, now, lines, minutes) {
  const each = now.map(({ name, value, place }) => {
    if (value === undefined) return `${name}: not known yet`;
    const values = lines[place].map((point) => point.value);
    return `${name}: now ${plot.text(value)}, at least ${plot.text(Math.min(...values))}, at most ${plot.text(Math.max(...values))}`;
  });
  return `${plot.title} over the last ${minutes === 1 ? "minute" : `${minutes} minutes`}. ${each.join("; ") || "Nothing is known yet"}.`;
}

function makeKey({ name }) {
  return h("li", {}, s("svg", { viewBox: "0 0 16 4", "aria-hidden": "true" }, s("path", { class: "line", d: "M0 2H16" })),
    h("span", {}, name), h("span", { class: "value" }));
}
