// @ts-check
// Filters of the audit: their form in the page's address, and the query of `GET /v1/audit`. Pure.

/**
 * Filters as the page's address holds them. Empty: no filter. `from` and `to`: days (`2026-11-30`) of the reader.
 * @typedef {{actor: string, target: string, action: string, from: string, to: string}} Filters
 */

/** @type {(keyof Filters)[]} */
const NAMES = ["actor", "target", "action", "from", "to"];

const DAY = /^(\d{4})-(\d{2})-(\d{2})$/;
const LONGEST = 128;

/**
 * Read the filters of an address. A day that does not exist, or text of improper length, is no filter.
 * @param {string} search `location.search`
 * @returns {Filters}
 */
export function read(search) {
  const given = new URLSearchParams(search);
  const found = none();
  for (const name of NAMES) {
    const value = given.get(name) ?? "";
    if (value.length > LONGEST) continue;
    if ((name === "from" || name === "to") && startOfDay(value) === null) continue;
    found[name] = value;
  }
  return found;
}

/** @returns {Filters} */
export function none() {
  return { actor: "", target: "", action: "", from: "", to: "" };
}

/**
 * Return the filters for the page's address: empty, or `?actor=…`.
 * @param {Filters} filters
 * @returns {string}
 */
export function write(filters) {
  const set = new URLSearchParams();
  for (const name of NAMES) if (filters[name]) set.set(name, filters[name]);
  const text = set.toString();
  return text ? `?${text}` : "";
}

/**
 * Return the path of one page of rows. The day `to` is included; the API's `to` is the first instant that is not.
 * @param {Filters} filters
 * @param {{limit: number, after?: number | null}} page
 * @returns {string}
 */
export function apiPath(filters, { limit, after = null }) {
  const query = new URLSearchParams();
  for (const name of /** @type {const} */ (["actor", "target", "action"])) {
    if (filters[name]) query.set(name, filters[name]);
  }
  const from = startOfDay(filters.from);
  const to = startOfDay(filters.to);
  if (from !== null) query.set("from", from.toISOString());
  if (to !== null) query.set("to", nextDay(to).toISOString());
  if (after !== null) query.set("after", String(after));
  query.set("limit", String(limit));
  return `/v1/audit?${query}`;
}

/**
 * Return the first instant of a day in the reader's zone, or null for text that is no day.
 * @param {string} text `2026-11-30`
 * @returns {Date | null}
 */
export function startOfDay(text) {
  const found = DAY.exec(text);
  if (found === null) return null;
  const [year, month, day] = found.slice(1).map(Number);
  if (year < 1970) return null;
  const date = new Date(year, month - 1, day);
  return date.getMonth() === month - 1 && date.getDate() === day ? date : null;
}

/**
 * Return the same time one day later. A day has 23 or 25 hours when the clocks change.
 * @param {Date} date
 * @returns {Date}
 */
function nextDay(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() + 1);
}
