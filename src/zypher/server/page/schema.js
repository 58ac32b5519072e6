// What a JSON Schema asks for, in terms of a form.

/** The schema behind `$ref` and a single `allOf`, with what stands beside them. */
export function resolved(schema, root, depth = 0) {
  if (typeof schema !== "object" || schema === null || depth > 20) return {};
  if (typeof schema.$ref === "string") {
    const { $ref, ...beside } = schema;
    return { ...resolved(target($ref, root), root, depth + 1), ...beside };
  }
  if (schema.allOf?.length === 1) {
    const { allOf, ...beside } = schema;
    return { ...resolved(allOf[0], root, depth + 1), ...beside };
  }
  return schema;
}

function target(reference, root) {
  const steps = reference.replace(/^#\/?/, "").split("/").filter(Boolean);
  return steps.reduce((node, step) => node?.[decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~")], root);
}

/** A schema without null among its types, and whether it had it. */
export function withoutNull(schema, root) {
  const key = schema.anyOf ? "anyOf" : schema.oneOf ? "oneOf" : null;
  if (key) {
    const { [key]: alternatives, ...beside } = schema;
    const rest = alternatives.filter((one) => resolved(one, root).type !== "null");
    const nullable = rest.length < alternatives.length;
    if (rest.length === 1) return { schema: { ...resolved(rest[0], root), ...beside }, nullable };
    return { schema: { ...beside, [key]: rest }, nullable };
  }
  if (Array.isArray(schema.type) && schema.type.includes("null")) {
    const types = schema.type.filter((type) => type !== "null");
    return { schema: { ...schema, type: types.length === 1 ? types[0] : types }, nullable: true };
  }
  if (schema.enum?.includes(null)) {
    return { schema: { ...schema, enum: schema.enum.filter((one) => one !== null) }, nullable: true };
  }
  return { schema, nullable: false };
}

/** Which kind of field a schema needs. What no field can make is `any`: JSON. */
export function kindOf(schema) {
  if (schema.enum || "const" in schema) return "choice";
  if (schema.anyOf || schema.oneOf) return "variant";
  if (schema.type === "string") return isBinary(schema) ? "file" : "text";
  if (schema.type === "array") return kindOfList(schema);
  if (schema.type === "object") return kindOfObject(schema);
  return ["boolean", "number", "integer"].includes(schema.type) ? schema.type : "any";
}

export const isBinary = (schema) => schema.contentEncoding === "base64"
  || ["binary", "base64"].includes(schema.format) || Boolean(schema.pattern?.startsWith("^data:"));

function kindOfList(schema) {
  if (schema.prefixItems) return schema.items === false || schema.maxItems === schema.prefixItems.length ? "tuple" : "any";
  return typeof schema.items === "object" && Object.keys(schema.items).length ? "list" : "any";
}

function kindOfObject(schema) {
  if (schema.properties && Object.keys(schema.properties).length) return "object";
  if (typeof schema.additionalProperties === "object") return "map";
  return schema.additionalProperties === false ? "object" : "any";
}

const BOUNDS = [
  ["minimum", "at least "], ["exclusiveMinimum", "more than "],
  ["maximum", "at most "], ["exclusiveMaximum", "less than "],
];

/** What a schema demands, in few words. */
export function demands(schema, kind) {
  const { minimum: least, maximum: most } = schema;
  const words = [];
  if (kind === "integer") words.push("whole number");
  if (kind === "number") words.push("number");
  if (least !== undefined && most !== undefined) words.push(`${least} to ${most}`);
  else for (const [key, text] of BOUNDS) if (schema[key] !== undefined) words.push(text + schema[key]);
  if (schema.multipleOf !== undefined) words.push(`a multiple of ${schema.multipleOf}`);
  words.push(...lengths(schema.minLength, schema.maxLength, "character"));
  words.push(...lengths(schema.minItems, schema.maxItems, "item"));
  if (schema.pattern && kind !== "file") words.push(`like ${schema.pattern}`);
  if (schema.format && kind === "text") words.push(schema.format);
  if (kind === "any") words.push("text or JSON");
  return words.join(", ");
}

function lengths(least, most, unit) {
  const units = (n) => `${n} ${unit}${n === 1 ? "" : "s"}`;
  if (least !== undefined && least === most) return [units(least)];
  if (least > 1 && most !== undefined) return [`${least} to ${units(most)}`];
  if (most !== undefined) return [`at most ${units(most)}`];
  return least > 1 ? [`at least ${units(least)}`] : [];
}

/** The value with which a form begins: what is set by default, and no more than is needed. */
export function initial(schema, root, required = true, depth = 0) {
  const whole = resolved(schema, root);
  if (whole.default !== undefined) return whole.default === null && !required ? undefined : whole.default;
  if (!required || depth > 8) return undefined;
  const { schema: plain, nullable } = withoutNull(whole, root);
  if (nullable) return null;
  switch (kindOf(plain)) {
    case "choice": return "const" in plain ? plain.const : plain.enum[0];
    case "boolean": return false;
    case "text": return "";
    case "list": return [];
    case "map": return {};
    case "tuple": return plain.prefixItems.map((item) => initial(item, root, true, depth + 1));
    case "object": return initialObject(plain, root, depth);
    case "variant": return initial((plain.anyOf ?? plain.oneOf)[0], root, true, depth + 1);
    case "any": return depth ? undefined : "";
    default: return undefined;
  }
}

function initialObject(schema, root, depth) {
  const needed = new Set(schema.required ?? []);
  const members = Object.entries(schema.properties ?? {}).map(
    ([name, member]) => [name, initial(member, root, needed.has(name), depth + 1)],
  );
  return Object.fromEntries(members.filter(([, value]) => value !== undefined));
}

/** What a schema is called: its title, or its type. */
export function titleOf(schema, root) {
  const whole = resolved(schema, root);
  return whole.title ?? { text: "text", any: "JSON" }[kindOf(whole)] ?? kindOf(whole);
}
