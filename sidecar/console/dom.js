// @ts-check
/** Elements from text and nodes, never from HTML; times and lists in words. */

/**
 * A child of an element. Text becomes a text node; null, undefined and false are left out.
 * @typedef {Node | string | number | null | undefined | false | readonly any[]} Child
 */

/**
 * Attributes of an element. A function under a name like "onclick" is a listener; true is an empty attribute; null,
 * undefined and false leave the attribute out. `value`, `checked` and `disabled` are set as properties.
 * @typedef {Record<string, string | number | boolean | null | undefined | ((event: any) => void)>} Attributes
 */

const PROPERTIES = new Set(["value", "checked", "disabled", "hidden"]);

/**
 * Create an element.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes | null} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (PROPERTIES.has(name)) Reflect.set(element, name, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
}

/**
 * Replace the content of an element.
 * @param {Element} element
 * @param {...Child} children
 */
export function fill(element, ...children) {
  element.replaceChildren();
  add(element, children);
}

/**
 * @param {Element} element
 * @param {readonly Child[]} children
 */
function add(element, children) {
  for (const child of children) {
    if (child instanceof Array) add(element, child);
    else if (child instanceof Node) element.append(child);
    else if (child !== null && child !== undefined && child !== false) element.append(String(child));
  }
}

/**
 * Return the element of this id. Throws if the page has none.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element #${id}`);
  return found;
}

/** Give the focus to the page's heading: for when the control that had it is gone. */
export function focusHeading() {
  const heading = document.querySelector("h1");
  heading?.setAttribute("tabindex", "-1");
  heading?.focus();
}

let ids = 0;

/**
 * Return an id that no element has yet.
 * @param {string} [prefix]
 */
export function newId(prefix = "id") {
  ids += 1;
  return `${prefix}-${ids}`;
}

const LANGUAGE = "en";
/** The reader's own kind of English for dates; other readers get day, month, year. */
export const DATES = /^en\b/.test(navigator.language) ? navigator.language : "en-GB";
const SHORT = new Intl.DateTimeFormat(DATES, {
  day: "numeric", month: "short", year: "numeric", hour: "numeric", minute: "2-digit",
});
const CLOCK = new Intl.DateTimeFormat(DATES, { hour: "numeric", minute: "2-digit" });
const EXACT = new Intl.DateTimeFormat(DATES, { dateStyle: "full", timeStyle: "long" });
const RELATIVE = new Intl.RelativeTimeFormat(LANGUAGE, { numeric: "auto" });
const NAMES = new Intl.ListFormat(LANGUAGE, { style: "long", type: "conjunction" });

/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];

/**
 * Return a `<time>` in the reader's zone, with the exact time as its title.
 * @param {string} at RFC 3339
 * @param {"date" | "ago" | "clock"} [form] "ago": "5 minutes ago" while that is less than a week; "clock": no date
 */
export function time(at, form = "date") {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return h("span", null, at);
  const text = form === "ago" ? ago(date, new Date()) : (form === "clock" ? CLOCK : SHORT).format(date);
  return h("time", { datetime: at, title: EXACT.format(date) }, text);
}

/**
 * Return a distance in words: "2 hours ago", "in 6 days"; a date beyond a week.
 * @param {Date} date
 * @param {Date} now
 */
export function ago(date, now) {
  const seconds = (date.getTime() - now.getTime()) / 1000;
  if (Math.abs(seconds) >= 8 * 86400) return SHORT.format(date);
  for (const [unit, size] of UNITS) {
    if (Math.abs(seconds) >= size) return RELATIVE.format(Math.trunc(seconds / size), unit);
  }
  return "now";
}

/**
 * Return "a, b and c".
 * @param {string[]} items
 */
export function list(items) {
  return NAMES.format(items);
}

/**
 * Return a number with its noun: "1 seat", "3 seats".
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 */
export function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

/**
 * Return the API's words as a sentence: a capital first, a full stop last.
 * @param {string} words
 */
export function sentence(words) {
  const text = words.trim();
  if (!text) return "";
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");
}

/**
 * Return text for the middle of a sentence: "Change plan" → "change plan", "API keys" as it is.
 * @param {string} text
 */
export function lowerFirst(text) {
  return /^\p{Lu}\p{Lu}/u.test(text) ? text : text.charAt(0).toLowerCase() + text.slice(1);
}

const SHOWN_AT_LEAST = 5_000;

/** @type {(() => void) | null} */
let keepStatus = null;

/**
 * Announce a result: in the open dialog if there is one, else at the foot of the page.
 *
 * It stays for 5 seconds and then until the next key or click, so that no reader is hurried.
 * @param {string} message "" clears it
 */
export function status(message) {
  const dialogs = document.querySelectorAll("dialog[open] [role=status]");
  const place = dialogs[dialogs.length - 1] ?? byId("status");
  place.textContent = message;
  keepStatus?.();
  keepStatus = null;
  if (message === "") return;
  const listening = new AbortController();
  const clear = () => {
    place.textContent = "";
    listening.abort();
  };
  const timer = setTimeout(() => {
    for (const kind of ["keydown", "pointerdown"]) addEventListener(kind, clear, { signal: listening.signal });
  }, SHOWN_AT_LEAST);
  keepStatus = () => {
    clearTimeout(timer);
    listening.abort();
  };
}
