// The fields of a form that hold one value: text, numbers, choices, files, JSON.
//
// A field has an `element`; `get()` tells its value, undefined if it is left out; `set(value)`
// shows one; `at(path)` is the field of a place in the value; `complain(text)` says what is wrong.

import { h, newId } from "./dom.js";
import { demands } from "./schema.js";
import { fileField } from "./file.js";

/** A field of one value, whose schema has no null in it. */
export function simpleField(kind, schema, about) {
  const make = { choice, boolean, integer: number, number, text, file: fileField, any }[kind];
  const control = make(schema, about);
  return labelled(control, schema, kind, about);
}

/** What stands for an empty field: null where it must be given, else nothing. */
export const nothing = (about) => (about.nullable && about.required ? null : undefined);

function labelled(control, schema, kind, about) {
  const id = newId("field");
  const hint = demands(schema, kind);
  const main = control.main ?? control.element;
  main.id = id;
  const error = h("p", { class: "error", id: `${id}-error`, hidden: true });
  const help = h("p", { class: "help", id: `${id}-help`, hidden: !schema.description }, schema.description ?? "");
  main.setAttribute("aria-describedby", `${id}-help ${id}-error`);
  if (about.required && kind !== "boolean") main.setAttribute("aria-required", "true");
  const label = h("label", { for: id }, about.label, needed(about, kind));
  const demand = h("span", { class: "demand" }, hint);
  const element = kind === "boolean"
    ? h("div", { class: "field check" }, h("div", {}, control.element, label), help, error)
    : h("div", { class: "field" }, h("div", { class: "caption" }, label, demand), control.element, help, error);
  const field = {
    element,
    get: control.get,
    set: control.set,
    at: () => field,
    complain: complainer(error, main),
    focus: () => main.focus(),
  };
  return field;
}

const needed = (about, kind) => (about.required && !about.nullable && kind !== "boolean" && about.label
  ? h("span", { class: "needed", "aria-hidden": "true", title: "It has to be given" }, " *") : null);

/** A function that shows or takes back what is wrong with a control. */
export function complainer(error, control) {
  return (text) => {
    error.textContent = text ?? "";
    error.hidden = !text;
    control.toggleAttribute("aria-invalid", Boolean(text));
    if (text) control.setAttribute("aria-invalid", "true");
  };
}

function text(schema, about) {
  const isDate = schema.format === "date";
  const box = isDate
    ? h("input", { type: "date" })
    : h("textarea", { rows: about.isWhole ? 3 : 1, maxlength: schema.maxLength, spellcheck: "false" });
  const empty = () => (about.nullable || !(about.required || schema.default) ? nothing(about) : "");
  box.addEventListener("input", about.changed);
  return {
    element: box,
    get: () => (box.value === "" ? empty() : box.value),
    set: (value) => { box.value = value ?? ""; },
  };
}

function number(schema, about) {
  const step = schema.type === "integer" ? schema.multipleOf ?? 1 : "any";
  const box = h("input", { type: "number", step, min: schema.minimum, max: schema.maximum });
  box.addEventListener("input", about.changed);
  return {
    element: box,
    get: () => (box.value === "" ? nothing(about) : Number(box.value)),
    set: (value) => { box.value = value ?? ""; },
  };
}

function boolean(schema, about) {
  if (about.nullable || (!about.required && schema.default === undefined)) {
    return choice({ enum: [true, false] }, { ...about, required: about.required && !about.nullable });
  }
  const box = h("input", { type: "checkbox" });
  box.addEventListener("change", about.changed);
  return { element: box, get: () => box.checked, set: (value) => { box.checked = value ?? schema.default ?? false; } };
}

function choice(schema, about) {
  const values = "const" in schema ? [schema.const] : schema.enum;
  const mayBeEmpty = about.nullable || !about.required;
  const options = values.map((value, place) => h("option", { value: place }, typeof value === "string" ? value : JSON.stringify(value)));
  if (mayBeEmpty) options.unshift(h("option", { value: "" }, "–"));
  const box = h("select", {}, options);
  box.addEventListener("change", about.changed);
  return {
    element: box,
    get: () => (box.value === "" ? nothing(about) : values[Number(box.value)]),
    set: (value) => {
      const place = values.findIndex((one) => one === value);
      box.value = place >= 0 ? place : "";
    },
  };
}

/** Anything: what is JSON is that, other text is text. */
function any(schema, about) {
  const box = h("textarea", { rows: about.isWhole ? 3 : 2, spellcheck: "false" });
  box.addEventListener("input", about.changed);
  return {
    element: box,
    get: () => {
      if (box.value === "") return about.required && about.isWhole ? "" : nothing(about);
      return valueOf(box.value);
    },
    set: (value) => { box.value = textOf(value); },
  };
}

function valueOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The text that `valueOf` makes this value of. */
function textOf(value) {
  if (value === undefined || value === null) return "";
  return typeof value === "string" && valueOf(value) === value ? value : JSON.stringify(value);
}
