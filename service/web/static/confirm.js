// Asks before something is deleted.

import { h } from "./dom.js";

/** Whether the reader agreed; Escape, Cancel and leaving the page, which aborts `signal`, say no. */
export function confirmed(question, consequence, deed, signal) {
  return new Promise((resolve) => {
    let agreed = false;
    const dialog = h(
      "dialog.small",
      { "aria-labelledby": "confirm-title", onclose: end },
      h("h2", { id: "confirm-title" }, question),
      h("p", consequence),
      h(
        "div.actions",
        h("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, "Cancel"),
        h("button.danger", { type: "button", onclick: agree }, deed),
      ),
    );
    function agree() {
      agreed = true;
      dialog.close(); // gives the focus back, which removing it alone would lose
    }
    function end() {
      dialog.remove();
      resolve(agreed && !signal.aborted);
    }
    signal.addEventListener("abort", () => dialog.close());
    document.body.append(dialog);
    dialog.showModal();
  });
}
