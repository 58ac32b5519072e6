// Asks for the API key where the server does, and forgets it when somebody says so.

import { get } from "./api.js";
import { byId, setText } from "./dom.js";
import { flawOf, heldKey, holdKey, keys, WRONG } from "./key.js";

export class Door {
  /** `opened()` is called when a key was taken. */
  constructor(opened) {
    this.opened = opened;
    this.dialog = byId("key-dialog");
    keys.addEventListener("refused", (event) => this.ask(event.detail ? WRONG : ""));
    keys.addEventListener("changed", () => this.showButton());
    byId("key-form").addEventListener("submit", (event) => { event.preventDefault(); this.tryKey(byId("key-input").value.trim()); });
    byId("key-cancel").addEventListener("click", () => this.dialog.close());
    byId("key-button").addEventListener("click", () => (heldKey() ? this.forget() : this.ask("")));
    this.dialog.addEventListener("close", () => { byId("key-input").value = ""; });
    this.showButton();
  }

  ask(complaint) {
    this.isLocked = true;
    this.showButton();
    this.complain(complaint);
    if (!this.dialog.open) this.dialog.showModal();
    byId("key-input").select();
  }

  async tryKey(key) {
    const flaw = flawOf(key);
    if (flaw) return this.complain(flaw);
    holdKey(key);
    const answer = await get("models");
    if (answer.status === 401) return null; // it was told already that it is wrong
    if (!answer.status) return this.complain("The server did not answer. Try again.");
    this.isLocked = false;
    this.dialog.close();
    return this.opened();
  }

  complain(text) {
    byId("key-error").hidden = !text;
    setText(byId("key-error"), text);
    byId("key-input").setAttribute("aria-invalid", String(Boolean(text)));
  }

  showButton() {
    byId("key-button").hidden = !heldKey() && !this.isLocked;
    setText(byId("key-button"), heldKey() ? "Forget key" : "Enter key");
  }

  /** What was seen with the key goes with it. */
  forget() {
    holdKey("");
    location.replace(location.pathname);
  }
}
