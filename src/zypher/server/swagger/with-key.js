// The documentation of a server that asks for an API key: its description needs one, this page does not.

import { flawOf, heldKey, holdKey, keys, send, WRONG } from "../ui/key.js";

const byId = (id) => document.getElementById(id);

async function show() {
  const response = await send("openapi.json").catch(() => null);
  if (response?.ok) draw(await response.json());
  else if (response?.status !== 401) ask(response ? `The answer was ${response.status}. Try again.` : "The server did not answer. Try again.");
}

function draw(spec) {
  byId("key-form").hidden = true;
  document.title = spec.info.title;
  const ui = SwaggerUIBundle({
    spec,
    dom_id: "#swagger-ui",
    layout: "BaseLayout",
    deepLinking: true,
    showExtensions: true,
    showCommonExtensions: true,
    validatorUrl: null,
    tryItOutEnabled: true,
    presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
    onComplete: () => ui.preauthorizeApiKey("header", heldKey()),
  });
}

function ask(complaint) {
  byId("key-form").hidden = false;
  byId("key-error").textContent = complaint;
  byId("key-input").select();
}

keys.addEventListener("refused", (event) => ask(event.detail ? WRONG : ""));
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const key = byId("key-input").value.trim();
  const flaw = flawOf(key);
  if (flaw) ask(flaw);
  else {
    holdKey(key);
    show();
  }
});
show();
