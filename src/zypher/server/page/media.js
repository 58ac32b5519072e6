// Shows pictures, sounds and films that are data URLs in inputs and results.

import { h } from "./dom.js";

const DATA_URL = /^data:(image|audio|video)\/[\w.+-]+[;,]/;
const MOST = 12;

/** An element that shows what a data URL holds; null if that is nothing to show. */
export function media(value, label) {
  switch (DATA_URL.exec(value)?.[1]) {
    case "image": return h("img", { src: value, alt: label });
    case "audio": return h("audio", { src: value, controls: true, "aria-label": label });
    case "video": return h("video", { src: value, controls: true, "aria-label": label });
    default: return null;
  }
}

/** What there is to show anywhere in a value, each with the place where it is. */
export function mediaIn(value) {
  const found = [];
  (function look(node, path) {
    if (found.length >= MOST) return;
    if (typeof node === "string") {
      const shown = media(node, path || "The value");
      if (shown) found.push(h("figure", {}, shown, h("figcaption", {}, path)));
    } else if (node && typeof node === "object") {
      for (const [name, child] of Object.entries(node)) look(child, path ? `${path}.${name}` : name);
    }
  })(value, "");
  return found;
}

const LONG_URL = /"data:([\w.+-]+\/[\w.+-]+)?[^"]{200,}"/g;

/** JSON text in which long data URLs are cut: they are shown, not read. */
export const withoutLongMedia = (text) => text.replace(LONG_URL, (url) => `${url.slice(0, 60)}… (${url.length} characters)"`);
