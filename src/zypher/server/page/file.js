// A field for bytes: a file, which becomes a data URL.

import { h } from "./dom.js";
import { media } from "./media.js";
import { size } from "./text.js";

const LARGE = 2000;

/**
 * Long data URLs by the short text that stands for them in the JSON editor, where millions of
 * characters would be in the way.
 */
const byMark = new Map();

/** A text that stands for a long data URL, or the value itself. */
export function marked(value) {
  if (typeof value !== "string" || value.length <= LARGE || !value.startsWith("data:")) return value;
  for (const [mark, url] of byMark) if (url === value) return mark;
  const type = /^data:([^;,]*)/.exec(value)[1] || "data";
  const mark = `«${type}, ${size(Math.floor(value.length * 0.75))}, no. ${byMark.size + 1}»`;
  byMark.set(mark, value);
  return mark;
}

/** JSON text with the data URLs in the places of their marks. */
export function unmarked(text) {
  return byMark.size ? text.replace(/"«[^"»]*»"/g, (mark) => {
    const url = byMark.get(mark.slice(1, -1));
    return url ? JSON.stringify(url) : mark;
  }) : text;
}

/** The control of a field for bytes. */
export function fileField(schema, about) {
  let url;
  const input = h("input", { type: "file", accept: schema.contentMediaType });
  const preview = h("div", { class: "preview" });
  const remove = h("button", { type: "button", hidden: true, onclick: () => { show(undefined); input.value = ""; about.changed(); input.focus(); } }, "Remove");
  const element = h("div", { class: "file" }, h("div", { class: "file-line" }, input, remove), preview);

  function show(value) {
    url = value;
    remove.hidden = !value;
    const shown = value && media(value, `The file of ${about.label || "the input"}`);
    preview.replaceChildren(...(value ? [shown ?? h("span", { class: "hint" }, size(Math.floor(value.length * 0.75)))] : []));
  }

  input.addEventListener("change", () => {
    if (!input.files.length) return;
    const reader = new FileReader();
    reader.addEventListener("load", () => { show(reader.result); about.changed(); });
    reader.readAsDataURL(input.files[0]);
  });
  return {
    element,
    main: input,
    get: () => url ?? (about.nullable && about.required ? null : undefined),
    set: (value) => {
      if (value !== url) input.value = "";
      show(typeof value === "string" && value ? value : undefined);
    },
  };
}
