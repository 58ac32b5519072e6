// The API key, where the server asks for one. Only this tab has it, until that is closed.

const PLACE = `zypher-key ${new URL(".", document.baseURI).pathname}`;

let held = stored((storage) => storage.getItem(PLACE)) ?? "";

/** Tells "refused" when the server has taken no key or the one that is held, "changed" when there is another. */
export const keys = new EventTarget();

export const heldKey = () => held;

/** Holds another key; none if it is empty. */
export function holdKey(key) {
  held = key;
  stored((storage) => (key ? storage.setItem(PLACE, key) : storage.removeItem(PLACE)));
  keys.dispatchEvent(new Event("changed"));
}

/** The headers of a request, with the key if there is one. */
export const withKey = (headers = {}) => (held ? { ...headers, "X-API-Key": held } : headers);

/** What is wrong with a text as a key, in a sentence; nothing if it can be one. */
export const flawOf = (text) => (/^[!-~]+$/.test(text) ? "" : "A key has letters, digits and signs, and no blanks.");

export const WRONG = "This key is none that the server knows.";

/** `fetch` with the key. Where the server asks for another, `keys` tells. */
export async function send(path, options = {}) {
  const sent = held;
  const response = await fetch(path, { cache: "no-store", ...options, headers: withKey(options.headers) });
  if (response.status === 401 && sent === held) {
    if (sent) holdKey("");
    keys.dispatchEvent(new CustomEvent("refused", { detail: sent }));
  }
  return response;
}

function stored(does) {
  try {
    return does(sessionStorage);
  } catch {
    return null; // a browser that lets pages store nothing: a reload asks again
  }
}
