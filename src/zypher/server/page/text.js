// Numbers, times and JSON as people read them.

/** A count, with thousands set apart. */
export const count = (number) => number.toLocaleString("en");

/** Seconds, in the unit that fits. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  if (seconds < 0.0995) return `${Math.max(0, Math.round(seconds * 1000))} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 99.5) return `${Math.round(seconds)} s`;
  if (seconds < 5970) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** So many per second; few of them per minute. */
export function rate(perSecond) {
  if (perSecond === null || perSecond === undefined) return "–";
  if (perSecond === 0) return "0/s";
  if (perSecond < 0.1) return `${(perSecond * 60).toFixed(1)}/min`;
  return `${perSecond < 10 ? perSecond.toFixed(1) : count(Math.round(perSecond))}/s`;
}

/** Bytes, in the unit that fits. */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

export const clock = (time) => new Date(time).toLocaleTimeString("en-GB");

/** The end of an id: its beginning is the time, which many share. */
export const shortId = (id) => id.slice(-8);

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

/** JSON text over several lines. Its numbers stay as they are written. */
export function pretty(text) {
  let result = "";
  let depth = 0;
  let last = "";
  const indent = () => `\n${"  ".repeat(depth)}`;
  for (const [token] of text.matchAll(TOKEN)) {
    if ("{[".includes(last) && last && !"}]".includes(token)) {
      depth += 1;
      result += indent();
    } else if (last === ",") result += indent();
    if ("}]".includes(token) && !"{[".includes(last)) {
      depth -= 1;
      result += indent();
    }
    result += token === ":" ? ": " : token;
    last = token;
  }
  return result;
}

/** A text that is no longer than this. */
export function shortened(text, most = 20000) {
  return text.length <= most ? text : `${text.slice(0, most)}\n… (${count(text.length)} characters in all)`;
}
