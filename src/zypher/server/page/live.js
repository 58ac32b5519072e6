// The stream of /events: comes back by itself, and knows whether what was told is still true.

import { listen } from "./api.js";

const SILENCE = 6000;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 4000;

/**
 * Follows the server. `tell(name, data)` is called for each event; `state(name, nextTry)` when it
 * is "live", "away" with the time of the next try, or "locked" until there is another key.
 */
export class Live {
  constructor(tell, state) {
    this.tell = tell;
    this.state = state;
    this.pause = FIRST_PAUSE;
    document.addEventListener("visibilitychange", () => this.seen());
    window.addEventListener("online", () => this.retry());
  }

  /** Connects, once more if need be. */
  async connect() {
    this.close();
    const { signal } = (this.hangUp = new AbortController());
    this.wait();
    const { status, events } = await listen("events", { signal });
    if (status === 401) {
      this.close();
      this.isLive = false;
      this.state("locked");
    }
    for await (const { name, data } of events) this.hear(name, data);
    if (!signal.aborted) this.lost();
  }

  /** Tries at once. */
  retry() {
    this.pause = FIRST_PAUSE;
    if (!this.isLive) this.connect();
  }

  close() {
    clearTimeout(this.timer);
    this.hangUp?.abort();
  }

  hear(name, data) {
    this.wait();
    this.pause = FIRST_PAUSE;
    const wasLive = this.isLive;
    this.isLive = true;
    if (!wasLive) this.state("live");
    this.tell(name, JSON.parse(data));
  }

  /** The server tells something every second: a long silence is as bad as a lost connection. */
  wait() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.lost(), SILENCE);
  }

  lost() {
    this.close();
    this.isLive = false;
    const wait = this.pause * (0.75 + Math.random() / 2);
    this.pause = Math.min(2 * this.pause, LONGEST_PAUSE);
    this.timer = setTimeout(() => this.connect(), wait);
    this.state("away", Date.now() + wait);
  }

  /** A page that nobody looks at follows nothing: browsers have few connections to one server. */
  seen() {
    if (document.hidden) {
      this.close();
      this.isLive = false;
    } else this.retry();
  }
}
