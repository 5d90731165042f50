// The page: which view the address names, the theme, the key, and whether the server answers.

import { connection, onKeyWanted, setKey } from "./api.js";
import { showComparison } from "./compare.js";
import { fill, h } from "./dom.js";
import { showJob } from "./job.js";
import { askForKey } from "./key.js";
import { showRun } from "./run.js";
import { showStart } from "./start.js";

const VIEWS = [
  [/^$/, showStart],
  [/^runs\/(run_\w+)$/, showRun],
  [/^compare\/(run_\w+)\/(run_\w+)$/, showComparison],
  [/^jobs\/(ftjob-\w+)$/, showJob],
];
const THEMES = ["system", "light", "dark"];

const main = document.querySelector("main");
let leaving = new AbortController();

async function show() {
  leaving.abort(new DOMException("The reader went elsewhere.", "AbortError"));
  leaving = new AbortController();
  const { signal } = leaving;
  const [path, search] = location.hash.replace(/^#\/?/, "").split("?");
  const query = Object.fromEntries(new URLSearchParams(search));
  const title = (text) => (document.title = `${text} · Winnow`);
  const [pattern, view] = VIEWS.find(([each]) => each.test(path)) ?? VIEWS[0];
  fill(main, h("p.hint", "Loading …"));
  main.setAttribute("aria-busy", "true");
  const headed = new MutationObserver(() => main.querySelector("h1") && arrive());
  const arrive = () => {
    headed.disconnect();
    main.removeAttribute("aria-busy");
    if (arrived) main.querySelector("h1").focus({ preventScroll: true });
    arrived = true;
    scrollTo(0, 0);
  };
  headed.observe(main, { childList: true, subtree: true });
  try {
    await view(main, pattern.exec(path)?.slice(1) ?? [], { query, signal, title });
  } catch (problem) {
    if (signal.aborted) return;
    fill(
      main,
      h("h1", { tabindex: "-1" }, "This can't be shown"),
      h("p.error", { role: "alert" }, problem.message),
      h("p", h("a", { href: "#/" }, "To the start")),
    );
  }
}
let arrived = false;

function showTheme(button) {
  const theme = document.documentElement.dataset.theme ?? "system";
  button.textContent = `Theme: ${theme}`;
}

function nextTheme(button) {
  const now = document.documentElement.dataset.theme ?? "system";
  const theme = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
  if (theme === "system") {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem("winnow-theme");
  } else {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("winnow-theme", theme);
  }
  showTheme(button);
  window.dispatchEvent(new Event("winnow-theme"));
}

const theme = document.querySelector("#theme");
theme.addEventListener("click", () => nextTheme(theme));
showTheme(theme);

const forget = document.querySelector("#forget");
forget.addEventListener("click", () => {
  setKey(null);
  location.hash = "#/";
  show();
});
const away = document.querySelector("#away");
const showConnection = ({ away: isAway, key }) => {
  away.textContent = isAway ? "The server does not answer. Trying again …" : "";
  forget.hidden = !key;
};
connection.subscribe(showConnection, new AbortController().signal);
showConnection(connection.get());

// Its address would be taken for a view.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
onKeyWanted(askForKey);
window.addEventListener("hashchange", show);
show();
