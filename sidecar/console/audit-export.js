// @ts-check
/** Export of the audit: all rows of the filters, as a file that the browser saves. */

import { get } from "./api.js";
import { BYTE_ORDER_MARK, table } from "./csv.js";
import { h } from "./dom.js";
import { apiPath } from "./filters.js";
import { sentence } from "./sentences.js";

/**
 * @typedef {import("./filters.js").Filters} Filters
 * @typedef {import("./sentences.js").Row} Row
 * @typedef {import("./titles.js").TitleOf} TitleOf
 */

const PAGE = 500;

/** @type {(keyof Row)[]} */
const COLUMNS = [
  "seq", "at", "action", "actor", "actor_name", "actor_email", "target", "target_name", "target_email",
  "before", "after", "address", "request_id",
];

/**
 * Return all rows of the filters, newest first. Throws Problem.
 * @param {Filters} filters
 * @param {(count: number) => void} progress
 * @returns {Promise<{entries: Row[], verified_up_to: number | null}>}
 */
export async function everyRow(filters, progress) {
  /** @type {Row[]} */
  const entries = [];
  let after = null;
  let verified = null;
  do {
    const page = await get(apiPath(filters, { limit: PAGE, after }));
    entries.push(...page.entries);
    verified ??= page.verified_up_to ?? null;
    after = page.next;
    progress(entries.length);
  } while (after !== null);
  return { entries, verified_up_to: verified };
}

/**
 * Return the rows as CSV, each with its sentence.
 * @param {Row[]} entries
 * @param {TitleOf} role
 */
export function asCsv(entries, role) {
  const rows = entries.map((row) => [...COLUMNS.map((name) => plain(row[name])), sentence(row, role)]);
  return BYTE_ORDER_MARK + table([...COLUMNS, "sentence"], rows);
}

/** @param {unknown} value */
function plain(value) {
  return value !== null && typeof value === "object" ? JSON.stringify(value) : value;
}

/**
 * Save text as a file.
 * @param {string} name
 * @param {string} type
 * @param {string} text
 */
export function save(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
