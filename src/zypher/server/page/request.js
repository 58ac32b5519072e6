// What is sent for a prediction, and the same as curl and Python would send it.

import { newId, h } from "./dom.js";
import { heldKey } from "./key.js";

const LONG = 1500;

/** A request: `input` is JSON text, `options` stand beside it, `extra` are headers. */
export function requestOf({ model, isDefault, input, options, extra, isAsync }) {
  const headers = { "Content-Type": "application/json", ...extra };
  if (isAsync) {
    headers["Async-Mode"] = "true";
    delete headers.Accept;
    delete headers.Prefer;
  }
  const beside = Object.entries(options).map(([name, value]) => `, ${JSON.stringify(name)}: ${JSON.stringify(value)}`);
  return {
    path: isDefault ? "predict" : `models/${encodeURIComponent(model)}/predict`,
    headers,
    body: `{"input": ${input}${beside.join("")}}`,
    model: isDefault ? null : model,
    input,
    options,
    isAsync,
  };
}

/** The curl command that sends a request. */
export function curl(request) {
  const headers = Object.entries(request.headers).map(([name, value]) => `  -H ${quoted(`${name}: ${value}`)} \\\n`);
  const stream = request.headers.Accept ? "-N " : "";
  const key = heldKey() ? `  -H "X-API-Key: $ZYPHER_API_KEY" \\\n` : ""; // as the Python client finds it
  return `curl ${stream}${quoted(new URL(request.path, document.baseURI).href)} \\\n${key}${headers.join("")}  -d ${quoted(request.body)}`;
}

const quoted = (text) => (/^[\w:/.?=%-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** The lines of Python that make the same prediction with Zypher's client. */
export function python(request) {
  const server = new URL(".", document.baseURI).href.replace(/\/$/, "");
  const named = Object.entries({ model: request.model, ...request.options }).filter(([, value]) => value !== null);
  const values = [literal(request.input), ...named.map(([name, value]) => `${name}=${literal(JSON.stringify(value))}`)].join(", ");
  const ask = request.isAsync ? `client.submit(${values}).wait()` : `client.predict(${values})`;
  return `import zypher\n\nclient = zypher.Client(${JSON.stringify(server)})\nprint(${ask})`;
}

const NAMES = { true: "True", false: "False", null: "None" };

/** JSON text as Python writes the same value. */
export const literal = (json) => json.replace(
  /"(?:[^"\\]|\\.)*"|\b(?:true|false|null)\b/g,
  (token) => NAMES[token] ?? JSON.stringify(JSON.parse(token)),
);

/** How to send a request from elsewhere, with buttons that copy. */
export function code(request) {
  return h("details", { class: "snippets" }, h("summary", {}, "Send the same from elsewhere"),
    snippet("curl", curl(request)), snippet("Python", python(request)));
}

function snippet(name, text) {
  const id = newId("snippet");
  const copied = h("span", { role: "status", class: "hint" });
  const copy = h("button", { type: "button", class: "small", "aria-label": `Copy the ${name} code`, onclick: () => copyText(text, copied) }, "Copy");
  const shown = text.length > LONG ? `${text.slice(0, LONG)} … (cut here; Copy has all of it)` : text;
  return h("div", { class: "snippet" },
    h("div", { class: "caption" }, h("h4", { id }, name), copied, copy),
    h("pre", { tabindex: 0, "aria-labelledby": id }, shown));
}

async function copyText(text, copied) {
  try {
    await navigator.clipboard.writeText(text);
    copied.textContent = "Copied";
  } catch { // only pages of https and of this machine may
    copied.textContent = copiedByHand(text) ? "Copied" : "This browser does not let the page copy";
  }
}

function copiedByHand(text) {
  const box = h("textarea", { class: "hidden", ".value": text });
  document.body.append(box);
  box.select();
  const done = document.execCommand("copy");
  box.remove();
  return done;
}
