// Creates elements and icons, and announces to screen readers. Strings always become text, never markup.
//
// Strings of users may run in either direction. An element whose only child is a string gets `dir="auto"`; a string
// beside other children is isolated.
import { isolated } from "./bidi.js";

/** @typedef {Node | string | number | false | null | undefined} Child */
/** @typedef {Record<string, unknown>} Props */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {Element} element
 * @param {Props} props
 */
function apply(element, props) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    else if (name === "value" || name === "checked" || name === "indeterminate") Reflect.set(element, name, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

/**
 * An HTML element: `h("p.hint", { id: "x" }, "text", otherNode)`. Classes follow the tag; properties are optional.
 * @template {string} S
 * @param {S} selector
 * @param {...(Props | Child | Child[])} rest
 * @returns {ElementOf<S>}
 */
export function h(selector, ...rest) {
  const [tag, ...classes] = selector.split(".");
  const element = document.createElement(tag);
  // Submit buttons set their type explicitly.
  if (element instanceof HTMLButtonElement) element.type = "button";
  if (classes.length) element.className = classes.join(" ");
  const [first] = rest;
  const props =
    typeof first === "object" && first && !(first instanceof Node) && !Array.isArray(first) ? first : undefined;
  fill(element, /** @type {Child[]} */ (props ? rest.slice(1) : rest));
  if (acceptsText(element, props)) element.setAttribute("dir", "auto");
  // After the children, because a select accepts a value only when it has its option.
  apply(element, props ?? {});
  return /** @type {ElementOf<S>} */ (element);
}

/**
 * Whether visitors type free text into the element.
 * @param {Element} element
 * @param {Props} [props]
 */
const acceptsText = (element, props) =>
  element instanceof HTMLTextAreaElement ||
  (element instanceof HTMLInputElement && ["text", "search"].includes(String(props?.type ?? "text")));

/**
 * @param {Element} element
 * @param {(Child | Child[])[]} children
 */
function fill(element, children) {
  const list = nodes(children);
  if (list.length === 1 && typeof list[0] === "string") {
    element.setAttribute("dir", "auto");
    element.replaceChildren(list[0]);
  } else {
    element.replaceChildren(...list.map((child) => (typeof child === "string" ? isolated(child) : child)));
  }
}

/**
 * An SVG element.
 * @param {string} tag
 * @param {Props} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {SVGElement}
 */
export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  apply(element, attributes);
  element.append(...nodes(children));
  return element;
}

/**
 * @param {(Child | Child[])[]} children
 * @returns {(Node | string)[]}
 */
function nodes(children) {
  return children
    .flat()
    .filter((child) => child !== false && child !== null && child !== undefined && child !== "")
    .map((child) => (child instanceof Node ? child : String(child)));
}

/**
 * Replaces the children of `parent`.
 * @param {Element} parent
 * @param {...(Child | Child[])} children
 */
export function replace(parent, ...children) {
  fill(parent, children);
}

/** Paths on a 24×24 grid, drawn as strokes. @type {Record<string, string>} */
const ICONS = {
  bell: "M6 10a6 6 0 0 1 12 0c0 5 2 6 2 7H4c0-1 2-2 2-7M10 20.5a2.2 2.2 0 0 0 4 0",
  calendar: "M4 7a2 2 0 0 1 2-2h12a2 2 0 0 1 2 2v12a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2zM4 10h16M8 3v4M16 3v4",
  check: "M5 12.5l4.5 4.5L19 7.5",
  clock: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M12 7v5l3.5 2",
  close: "M6 6l12 12M18 6L6 18",
  compass: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M15.5 8.5l-2 5-5 2 2-5z",
  plus: "M12 5v14M5 12h14",
  download: "M12 3v12M7 10.5l5 5 5-5M4 20h16",
  minus: "M5 12h14",
  pin: "M12 21s-7-6-7-11.5a7 7 0 0 1 14 0C19 15 12 21 12 21M12 7.2a2.4 2.4 0 1 0 0 4.8 2.4 2.4 0 0 0 0-4.8",
  print: "M7 9V4h10v5M7 17H4v-8h16v8h-3M7 14h10v6H7z",
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14M20.5 20.5L16 16",
  share: "M12 15V3.5M8 7l4-4 4 4M6 12H5v9h14v-9h-1",
  stage: "M4 20V10M10 20V4M16 20v-7M22 20H2",
  ticket:
    "M3 8a2 2 0 0 1 2-2h14a2 2 0 0 1 2 2v2a2 2 0 0 0 0 4v2a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2v-2a2 2 0 0 0 0-4zM14 6.5v2M14 11v2M14 15.5v2",
  user: "M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8M4.5 20.5c.8-4 3.8-5.5 7.5-5.5s6.7 1.5 7.5 5.5",
  warning: "M12 4L2.5 20h19zM12 10v4.5M12 17.2v.1",
};

/**
 * A decorative icon. The text beside it or an `aria-label` around it must have the meaning.
 * @param {string} name
 */
export function icon(name) {
  return s("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, s("path", { d: ICONS[name] }));
}

/**
 * @param {string} selector
 * @returns {HTMLElement}
 */
export function find(selector) {
  const element = document.querySelector(selector);
  if (!(element instanceof HTMLElement)) throw new Error(`the page has no ${selector}`);
  return element;
}

/**
 * Announces `text` to screen readers. The region is cleared first, so that a repeated text is announced again.
 * @param {string} text
 */
export function announce(text) {
  const region = find("#announcer");
  region.textContent = "";
  setTimeout(() => (region.textContent = text), 50);
}

let ids = 0;
/** An id for `aria-describedby` and friends. */
export function uniqueId() {
  return `id-${++ids}`;
}

/**
 * Waits. Rejects when `signal` aborts.
 * @param {number} milliseconds
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal.addEventListener("abort", stop);
  });
}
