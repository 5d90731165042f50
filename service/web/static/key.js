// Asks for an API key when the server wants one. The key lives in this tab's session storage and nowhere else.

import { setKey } from "./api.js";
import { field, h } from "./dom.js";

/** Show the dialog; resolves when a key was entered. Dismissed, it comes back: without a key there is nothing to see. */
export function askForKey(sentence) {
  return new Promise((resolve) => {
    let entered = false;
    const input = h("input", {
      type: "password",
      name: "key",
      required: true,
      autocomplete: "off",
      spellcheck: "false",
      placeholder: "winnow_sk_…",
    });
    const form = h(
      "form",
      { method: "dialog", onsubmit: enter },
      h("h2", { id: "key-title" }, "API key"),
      h("p", { role: "alert" }, sentence),
      field("Key", input, "Made by `winnow keys create`. Kept until you close this tab."),
      h("div.actions", h("button.primary", { type: "submit" }, "Use this key")),
    );
    const dialog = h(
      "dialog.small",
      { "aria-labelledby": "key-title", onclose: closed },
      form,
    );
    function enter(event) {
      event.preventDefault();
      setKey(input.value.trim());
      entered = true;
      dialog.close();
    }
    function closed() {
      // A browser lets a page hold a dialog against Escape once only.
      if (!entered) return dialog.showModal();
      dialog.remove();
      return resolve();
    }
    document.body.append(dialog);
    dialog.showModal();
  });
}
