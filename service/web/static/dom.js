// Elements without markup: every string becomes a text node, so nothing that a record holds can become HTML.

/**
 * An element: h("p.note", { id: "x", onclick: f, disabled: true }, "text", child, [children]).
 * `on...` are listeners, true is an attribute without a value, false and null leave one out.
 */
export function h(name, ...rest) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  const given = rest[0];
  const isAttributes = given !== null && typeof given === "object" && Object.getPrototypeOf(given) === Object.prototype;
  if (isAttributes) setAttributes(element, rest.shift());
  append(element, rest);
  return element;
}

function setAttributes(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child);
  }
}

/** Put `children` in the place of what `element` holds. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** A form control under its label; `hint` is read out with the control. */
export function field(label, control, hint) {
  const id = control.id || `f${nextId++}`;
  control.id = id;
  if (hint) control.setAttribute("aria-describedby", `${id}-hint`);
  return h("div.field", h("label", { for: id }, label), control, hint && h("p.hint", { id: `${id}-hint` }, hint));
}

/** A drop-down; `options` are values, or [value, text] pairs. */
export function choice(options, chosen, attributes = {}) {
  const pairs = options.map((option) => (Array.isArray(option) ? option : [option, option]));
  return h(
    "select",
    attributes,
    pairs.map(([value, text]) => h("option", { value, selected: value === chosen }, text)),
  );
}

/** Facts as a description list: [term, value] pairs; a pair without a value is left out. */
export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined);
  return h(
    "dl.facts",
    known.map(([term, value]) => h("div", h("dt", term), h("dd", value))),
  );
}

/** A section of a page with its heading. */
export function section(title, ...children) {
  const id = `s${nextId++}`;
  return h("section", { "aria-labelledby": id }, h("h2", { id }, title), children);
}

/** A box that scrolls sideways; the keyboard can reach it and move it. */
export function scroller(label, ...children) {
  return h("div.scroller", { tabindex: "0", role: "region", "aria-label": label }, children);
}

/** Text that assistive technology reads out when it changes, at most every few seconds so that it can be followed. */
export function announcer(everyMs = 5000) {
  const region = h("p.visually-hidden", { role: "status", "aria-live": "polite" });
  let last = 0;
  return {
    region,
    say(text, { now = false } = {}) {
      if (!now && Date.now() - last < everyMs) return;
      last = Date.now();
      region.textContent = text;
    },
  };
}

let nextId = 1;
