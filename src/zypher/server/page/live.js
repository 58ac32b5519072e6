// The stream of /events: comes back by itself, and knows whether what was told is still true.

const EVENTS = ["stats", "predictions", "history", "sample", "away"];
const SILENCE = 6000;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 4000;

/**
 * Follows the server. `tell(name, data)` is called for each event; `state(name, nextTry)` when it
 * is "live", or "away" with the time of the next try.
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
  connect() {
    this.close();
    this.source = new EventSource("events");
    for (const name of EVENTS) this.source.addEventListener(name, (event) => this.hear(name, event));
    this.source.addEventListener("error", () => this.lost());
    this.listen();
  }

  /** Tries at once. */
  retry() {
    this.pause = FIRST_PAUSE;
    if (!this.isLive) this.connect();
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
  }

  hear(name, event) {
    this.listen();
    this.pause = FIRST_PAUSE;
    const wasLive = this.isLive;
    this.isLive = true;
    if (!wasLive) this.state("live");
    this.tell(name, JSON.parse(event.data));
  }

  /** The server tells something every second: a long silence is as bad as a lost connection. */
  listen() {
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
