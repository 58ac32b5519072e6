// The form: an input by the model's schema or as JSON, the options, and the buttons that send it.

import { Answer } from "./answer.js";
import { byId, h, newId, setText } from "./dom.js";
import { marked, unmarked } from "./file.js";
import { formOf } from "./form.js";
import { requestOf } from "./request.js";
import { initial } from "./schema.js";

const OPTIONS = [
  { name: "priority", label: "Priority", values: ["normal", "high", "low"] },
  { name: "deadline", label: "Deadline, s", type: "number" },
  { name: "queue_timeout", label: "Queue timeout, s", type: "number" },
  { name: "run_timeout", label: "Run timeout, s", type: "number" },
  { name: "retries", label: "Retries", type: "number" },
  { name: "ttl", label: "Keep for, s", type: "number" },
  { name: "webhook", label: "Webhook", type: "url" },
  { name: "Idempotency-Key", label: "Idempotency key", type: "text", isHeader: true },
  { name: "Prefer", label: "Wait at most, s (sync)", type: "number", isHeader: true, format: (value) => `wait=${value}` },
  { name: "Accept", label: "Stream the answer (sync)", type: "checkbox", isHeader: true, format: () => "text/event-stream" },
];

export class Try {
  /** `opened(id)` is called when somebody wants to see a prediction whole. */
  constructor(opened) {
    this.opened = opened;
    this.models = [];
    this.answers = [];
    this.controls = OPTIONS.map(optionField);
    byId("option-fields").replaceChildren(...this.controls.map((one) => one.element));
    byId("form").addEventListener("submit", (event) => { event.preventDefault(); this.send(["sync"]); });
    byId("run-async").addEventListener("click", () => this.send(["async"]));
    byId("run-both").addEventListener("click", () => this.send(["sync", "async"]));
    byId("json").addEventListener("input", () => this.readJSON());
    byId("model").addEventListener("change", () => this.choose(byId("model").value));
  }

  /** Shows these models, the default first. What is being filled in stays, unless its schema has changed. */
  show(models) {
    const before = this.model;
    this.models = models;
    byId("model-choice").hidden = models.length < 2;
    byId("model").replaceChildren(...models.map((model) => h("option", {}, model.name)));
    const now = models.find((model) => model.name === before?.name);
    if (now) byId("model").value = now.name;
    if (models.length && (!now || JSON.stringify(now) !== JSON.stringify(before))) this.choose((now ?? models[0]).name);
  }

  choose(name) {
    this.model = this.models.find((model) => model.name === name);
    byId("model").value = name;
    setText(byId("model-description"), this.model.description ?? "");
    const schema = this.model.input_schema;
    this.form = formOf(schema, () => this.writeJSON());
    this.form.set(schema.examples?.[0] ?? initial(schema, schema));
    byId("fields").replaceChildren(this.form.element);
    this.writeJSON();
  }

  /** Shows an input, as that of an earlier prediction. */
  use(model, input) {
    if (!this.models.length) return; // they still load
    if (this.models.some((one) => one.name === model)) this.choose(model);
    this.form.set(input);
    this.writeJSON(input);
    byId("try").scrollIntoView();
    this.form.focus();
  }

  /** The JSON editor follows the form. */
  writeJSON(value = this.form.get()) {
    this.complain([]);
    byId("json").value = JSON.stringify(value ?? null, (_, one) => marked(one), 2);
    this.isJSON(true);
  }

  /** The form follows the JSON editor, as far as it can. */
  readJSON() {
    if (!this.models.length) return;
    try {
      const value = JSON.parse(unmarked(byId("json").value));
      this.complain([]);
      this.form.set(value);
      this.isJSON(true);
    } catch (error) {
      this.isJSON(false, `This is no JSON: ${error.message}`);
    }
  }

  isJSON(is, text = "") {
    byId("json-error").hidden = is;
    setText(byId("json-error"), text);
    byId("json").setAttribute("aria-invalid", String(!is));
  }

  /** Sends the input in these modes at once. */
  async send(modes) {
    if (!this.model) return;
    this.complain([]);
    if (byId("json").getAttribute("aria-invalid") === "true") {
      byId("json-part").open = true;
      byId("json").focus();
      return;
    }
    for (const answer of this.answers) answer.close();
    this.answers = modes.map((mode) => this.answerTo(mode));
    byId("answers").replaceChildren(...this.answers.map((answer) => answer.element));
    const problems = await Promise.all(this.answers.map((answer) => answer.run()));
    const problem = problems.find((one) => one);
    if (problem?.status === 422) this.complain(problem.body.errors ?? []);
  }

  answerTo(mode) {
    const given = this.controls.filter((one) => one.value() !== undefined);
    const chosen = (isHeader) => Object.fromEntries(
      given.filter((one) => Boolean(one.option.isHeader) === isHeader).map((one) => [one.option.name, one.value()]),
    );
    const request = requestOf({
      model: this.model.name,
      isDefault: this.model.name === this.models[0].name,
      input: unmarked(byId("json").value),
      options: chosen(false),
      extra: chosen(true),
      isAsync: mode === "async",
    });
    return new Answer(mode === "async" ? "Asynchronous" : "Synchronous", request, this.opened);
  }

  /** Shows each error at its field; those of no field above the buttons. */
  complain(errors) {
    for (const one of this.complaining ?? []) one.complain("");
    this.complaining = new Map();
    const others = [];
    for (const error of errors) {
      const place = this.placeOf(error);
      if (!place) others.push(`${error.loc.join(".")}: ${error.msg}`);
      else this.complaining.set(place, [this.complaining.get(place), error.msg].filter(Boolean).join("; "));
    }
    for (const [place, text] of this.complaining) place.complain(text);
    const [first] = this.complaining.keys();
    this.complaining = [...this.complaining.keys()];
    byId("form-error").hidden = !others.length;
    setText(byId("form-error"), others.join("\n"));
    first?.focus();
  }

  placeOf({ loc, msg, type }) {
    const [head, ...path] = loc;
    const option = this.controls.find((one) => one.option.name === path[0] || one.option.name === head);
    if (head !== "input") return option ?? null;
    const missing = type === "required" && /^"(.*)" is a required property$/.exec(msg);
    return this.form.at(missing ? [...path, missing[1]] : path);
  }
}

function optionField(option) {
  const id = newId("option");
  const error = h("p", { class: "error", id: `${id}-error`, hidden: true });
  const isCheck = option.type === "checkbox";
  const control = option.values
    ? h("select", { id, "aria-describedby": error.id }, option.values.map((value) => h("option", {}, value)))
    : h("input", { id, type: option.type, step: "any", min: 0, "aria-describedby": error.id, autocomplete: "off" });
  const label = h("label", { for: id }, option.label);
  const empty = option.values?.[0] ?? "";
  const raw = () => (isCheck ? (control.checked ? "yes" : "") : control.value);
  const typed = (text) => option.format?.(text) ?? (option.type === "number" ? Number(text) : text);
  return {
    option,
    element: h("div", { class: isCheck ? "field check" : "field" }, isCheck ? h("div", {}, control, label) : [label, control], error),
    value: () => (raw() === empty ? undefined : typed(raw())),
    complain: (text) => {
      error.hidden = !text;
      error.textContent = text;
      control.setAttribute("aria-invalid", String(Boolean(text)));
    },
    focus: () => { byId("options").open = true; control.focus(); },
  };
}
