// Makes a form of a JSON Schema: the fields that are made of other fields.

import { h, newId } from "./dom.js";
import { complainer, nothing, simpleField } from "./field.js";
import { demands, initial, kindOf, resolved, titleOf, withoutNull } from "./schema.js";

const DEEPEST = 8;

/** The field of a whole input. `changed` is called when somebody changes anything. */
export function formOf(schema, changed) {
  return fieldOf(schema, { root: schema, label: "input", required: true, isWhole: true, depth: 0, changed });
}

function fieldOf(schema, about) {
  const { schema: plain, nullable } = withoutNull(resolved(schema, about.root), about.root);
  const kind = about.depth > DEEPEST ? "any" : kindOf(plain);
  const make = { object, map, list, tuple, variant }[kind];
  const known = { ...about, nullable };
  return make ? make(plain, known) : simpleField(kind, plain, known);
}

const inside = (about, label, required) => ({ ...about, label, required, isWhole: false, depth: about.depth + 1 });

/** A fieldset with a title, what it is for, and what is wrong with it. */
function group(schema, about, kind, box, ...content) {
  const id = newId("group");
  const error = h("p", { class: "error", id, hidden: true });
  const needed = about.required && !about.nullable && !about.isWhole ? h("span", { class: "needed", "aria-hidden": "true" }, " *") : null;
  const title = box ? h("label", {}, box, about.label) : [about.label, needed];
  const legend = h("legend", { class: about.isWhole && !box ? "hidden" : null }, title);
  const help = [about.isWhole ? null : schema.description, kind === "list" ? demands(schema, kind) : null].filter(Boolean);
  const element = h("fieldset", { class: `group ${kind}${about.isWhole ? " whole" : ""}`, "aria-describedby": id },
    legend, help.map((text) => h("p", { class: "help" }, text)), ...content, error);
  return { element, complain: complainer(error, element) };
}

/** What may be left out has a box that says whether it is given. */
function given(about, body) {
  if (about.required && !about.nullable) return { box: null, isGiven: () => true, show: () => {} };
  const box = h("input", { type: "checkbox", title: "Give it" });
  const show = (is) => { box.checked = is; body.hidden = !is; };
  box.addEventListener("change", () => { show(box.checked); about.changed(); });
  return { box, isGiven: () => box.checked, show };
}

function object(schema, about) {
  const needed = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties ?? {}).map(
    ([name, member]) => [name, fieldOf(member, inside(about, name, needed.has(name)))],
  );
  const known = new Map(fields);
  let others = {}; // members that have no field, as the JSON editor may have them
  const body = h("div", { class: "members" }, fields.map(([, field]) => field.element));
  const gift = given(about, body);
  const { element, complain } = group(schema, about, "object", gift.box, body);
  const field = {
    element,
    complain,
    get: () => {
      if (!gift.isGiven()) return nothing(about);
      const members = fields.map(([name, one]) => [name, one.get()]).filter(([, value]) => value !== undefined);
      return { ...Object.fromEntries(members), ...others };
    },
    set: (value) => {
      const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
      gift.show(isObject);
      const begin = isObject ? value : initial({ ...schema, default: undefined }, about.root);
      fields.forEach(([name, one]) => one.set(begin[name]));
      others = Object.fromEntries(Object.entries(isObject ? value : {}).filter(([name]) => !known.has(name)));
    },
    at: (path) => (known.has(path[0]) ? known.get(path[0]).at(path.slice(1)) : field),
    focus: () => fields[0]?.[1].focus(),
  };
  return field;
}

function list(schema, about) {
  const rows = h("ul", { class: "items", "aria-label": about.label });
  let items = [];
  const add = h("button", { type: "button", class: "small", onclick: () => {
    const field = append(initial(schema.items, about.root));
    about.changed();
    field.focus();
  } }, `Add to ${about.label || "the list"}`);

  function append(value) {
    const field = fieldOf(schema.items, inside(about, `${about.label} ${items.length + 1}`, true));
    field.set(value);
    const remove = h("button", { type: "button", class: "small", "aria-label": `Remove ${about.label} ${items.length + 1}`, onclick: () => {
      const values = items.filter((one) => one !== field).map((one) => one.get());
      show(values);
      about.changed();
      add.focus();
    } }, "Remove");
    items.push(field);
    rows.append(h("li", {}, field.element, remove));
    return field;
  }

  function show(values) {
    items = [];
    rows.replaceChildren();
    values.forEach(append);
  }

  const { element, complain } = group(schema, about, "list", null, rows, add);
  const field = {
    element,
    complain,
    get: () => {
      const isNothing = !items.length && (about.nullable || !(about.required || schema.default));
      return isNothing ? nothing(about) : items.map((one) => one.get() ?? null);
    },
    set: (value) => show(Array.isArray(value) ? value : []),
    at: (path) => items[path[0]]?.at(path.slice(1)) ?? field,
    focus: () => (items[0] ?? { focus: () => add.focus() }).focus(),
  };
  return field;
}

function tuple(schema, about) {
  const items = schema.prefixItems.map((item, place) => fieldOf(item, inside(about, `${about.label} ${place + 1}`, true)));
  const body = h("div", { class: "members" }, items.map((item) => item.element));
  const gift = given(about, body);
  const { element, complain } = group(schema, about, "tuple", gift.box, body);
  const field = {
    element,
    complain,
    get: () => (gift.isGiven() ? items.map((item) => item.get() ?? null) : nothing(about)),
    set: (value) => {
      gift.show(Array.isArray(value));
      items.forEach((item, place) => item.set(value?.[place]));
    },
    at: (path) => items[path[0]]?.at(path.slice(1)) ?? field,
    focus: () => items[0]?.focus(),
  };
  return field;
}

/** An object of any names: a list of names and values. */
function map(schema, about) {
  const pair = {
    type: "object",
    properties: { name: { type: "string" }, value: schema.additionalProperties },
    required: ["name", "value"],
  };
  const field = list({ description: schema.description, items: pair, default: schema.default && [] }, about);
  const pairs = field.get;
  const { set, at } = field;
  return Object.assign(field, {
    get: () => {
      const value = pairs();
      return value && Object.fromEntries(value.filter((one) => one.name !== "").map((one) => [one.name, one.value]));
    },
    set: (value) => set(value && typeof value === "object" ? Object.entries(value).map(([name, one]) => ({ name, value: one })) : []),
    at: (path) => {
      const place = (pairs() ?? []).findIndex((one) => one.name === path[0]);
      return place < 0 ? field : at([place, "value", ...path.slice(1)]);
    },
  });
}

/** One of several schemas: which one is chosen beside it. */
function variant(schema, about) {
  const alternatives = schema.anyOf ?? schema.oneOf;
  const mayBeEmpty = about.nullable || !about.required;
  const titles = alternatives.map((one, place) => h("option", { value: place }, titleOf(one, about.root)));
  if (mayBeEmpty) titles.unshift(h("option", { value: "" }, "–"));
  const box = h("select", { "aria-label": `Kind of ${about.label}` }, titles);
  const body = h("div", {});
  let chosen = null;

  function choose(place, value) {
    box.value = place;
    chosen = place === "" ? null : fieldOf(alternatives[place], inside(about, about.label, true));
    chosen?.set(value);
    body.replaceChildren(...(chosen ? [chosen.element] : []));
  }

  box.addEventListener("change", () => {
    choose(box.value, box.value === "" ? undefined : initial(alternatives[box.value], about.root));
    about.changed();
  });
  const { element, complain } = group(schema, about, "variant", null, box, body);
  const field = {
    element,
    complain,
    get: () => (chosen ? chosen.get() : nothing(about)),
    set: (value) => {
      if (value === undefined || value === null) choose(mayBeEmpty ? "" : 0, undefined);
      else choose(fitting(alternatives, value, about.root), value);
    },
    at: (path) => (chosen && path.length ? chosen.at(path) : field),
    focus: () => box.focus(),
  };
  return field;
}

/** Which alternative a value belongs to, as far as its type and its members tell. */
function fitting(alternatives, value, root) {
  const points = alternatives.map((one) => likeness(resolved(one, root), value, root));
  return points.indexOf(Math.max(...points));
}

function likeness(schema, value, root) {
  const type = Array.isArray(value) ? "array" : typeof value;
  if ("const" in schema || schema.enum) return (schema.enum ?? [schema.const]).includes(value) ? 9 : -1;
  if (schema.type === "integer") return Number.isInteger(value) ? 3 : -1;
  if (schema.type !== type) return schema.type ? -1 : 0;
  if (type !== "object") return 2;
  const members = Object.entries(schema.properties ?? {});
  const missing = (schema.required ?? []).filter((name) => !(name in value)).length;
  const fixed = members.filter(([name, one]) => name in value && likeness(resolved(one, root), value[name], root) > 0).length;
  const unknown = Object.keys(value).filter((name) => !(name in (schema.properties ?? {}))).length;
  return 2 + fixed - missing - unknown;
}
