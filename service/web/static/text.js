// Text of records, which is hostile until proven otherwise: shown as text, isolated in direction, and cut.

import { h } from "./dom.js";

/** Characters that change how others look, or are not seen at all; joiners of emoji and Persian are left alone. */
const UNSEEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

const BIDI = {
  "\u061c": "ALM",
  "\u200e": "LRM",
  "\u200f": "RLM",
  "\u202a": "LRE",
  "\u202b": "RLE",
  "\u202c": "PDF",
  "\u202d": "LRO",
  "\u202e": "RLO",
  "\u2066": "LRI",
  "\u2067": "RLI",
  "\u2068": "FSI",
  "\u2069": "PDI",
};

const FIRST = 4_000;
const STEP = 100_000;

/** A short text as one line or a few, every unseen character as a visible mark instead. */
export function hostile(text) {
  return h("bdi.text", marked(String(text)));
}

/** The same for places that hold no elements: an option, a title. Cut after `most` characters. */
export function plain(text, most = 60) {
  const cut = text.length > most ? `${text.slice(0, cutAt(text, most))}…` : text;
  return cut.replaceAll(UNSEEN, (character) => `[${nameOf(character)}]`);
}

/** A text of any length: the first characters, and a button that shows more of them, so much at a time. */
export function longText(text, label) {
  const shown = h("bdi", marked(text.slice(0, cutAt(text, FIRST))));
  const box = h("div.text.long", { role: "group", "aria-label": label }, shown);
  let end = cutAt(text, FIRST);
  if (end >= text.length) return box;
  const more = h("button.quiet", { type: "button", onclick: showMore });
  const describe = () => {
    const left = text.length - end;
    const next = Math.min(STEP, left);
    more.textContent = `Show ${count(next)} more of ${count(text.length)} characters`;
  };
  function showMore() {
    const from = end;
    end = cutAt(text, end + STEP);
    // Later parts are isolated by themselves: appending to the first would run their direction into it.
    box.insertBefore(h("bdi", marked(text.slice(from, end))), more);
    if (end >= text.length) more.remove();
    else describe();
  }
  describe();
  box.append(more);
  return box;
}

function marked(text) {
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(UNSEEN)) {
    if (match[0] === "\r") continue;
    parts.push(text.slice(from, match.index), mark(match[0]));
    from = match.index + match[0].length;
  }
  parts.push(text.slice(from));
  return parts;
}

function mark(character) {
  const title = character in BIDI ? "Changes the direction of text" : "Is not seen";
  return h("span.mark", { title: `${title}: ${pointOf(character)}` }, nameOf(character));
}

const pointOf = (character) => `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
const nameOf = (character) => BIDI[character] ?? pointOf(character);

/** `end`, or one less where it would cut a character of two units in half. */
function cutAt(text, end) {
  if (end >= text.length) return text.length;
  const unit = text.charCodeAt(end - 1);
  return unit >= 0xd800 && unit < 0xdc00 ? end - 1 : end;
}

const count = (number) => number.toLocaleString("en-US");
