// Asks before something is deleted.

import { h } from "./dom.js";

/** Whether the reader agreed; Escape and Cancel say no. */
export function confirmed(question, consequence, deed) {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog.small",
      { "aria-labelledby": "confirm-title", onclose: () => end(false) },
      h("h2", { id: "confirm-title" }, question),
      h("p", consequence),
      h(
        "div.actions",
        h("button", { type: "button", autofocus: true, onclick: () => end(false) }, "Cancel"),
        h("button.danger", { type: "button", onclick: () => end(true) }, deed),
      ),
    );
    function end(answer) {
      resolve(answer);
      dialog.remove();
    }
    document.body.append(dialog);
    dialog.showModal();
  });
}
