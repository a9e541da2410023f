// @ts-check
/** Export of the audit: all rows of the filters, as a file that the browser saves. */

import { get } from "./api.js";
import { merged } from "./audit-policy.js";
import { BYTE_ORDER_MARK, table } from "./csv.js";
import { h } from "./dom.js";
import { apiPath } from "./filters.js";
import { sentence } from "./sentences.js";

/**
 * @typedef {import("./filters.js").Filters} Filters
 * @typedef {import("./sentences.js").Row} Row
 * @typedef {import("./audit-policy.js").PolicyChange} PolicyChange
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
 * @returns {Promise<{entries: Row[], policy_changes: PolicyChange[], verified_up_to: number | null}>}
 */
export async function everyRow(filters, progress) {
  /** @type {Row[]} */
  const entries = [];
  /** @type {PolicyChange[]} */
  const changes = [];
  let after = null;
  let verified = null;
  do {
    const page = await get(apiPath(filters, { limit: PAGE, after }));
    entries.push(...page.entries);
    changes.push(...(page.policy_changes ?? []));
    verified ??= page.verified_up_to ?? null;
    after = page.next;
    progress(entries.length + changes.length);
  } while (after !== null);
  return { entries, policy_changes: changes, verified_up_to: verified };
}

/**
 * Return rows and changes of the policy as CSV, each with its sentence.
 * @param {{entries: Row[], policy_changes: PolicyChange[]}} found
 * @param {TitleOf} role
 * @param {TitleOf} section
 */
export function asCsv({ entries, policy_changes }, role, section) {
  const rows = merged(entries, policy_changes).map((row) =>
    [...COLUMNS.map((name) => plain(row[name])), sentence(row, role, section)]);
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
