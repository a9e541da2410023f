// @ts-check
// Members of a row of the audit on both sides of the change. Pure.

import { inWords } from "./titles.js";

/** @typedef {import("./sentences.js").Row} Row */

/**
 * Return the members that a change set, with their values on both sides.
 * @param {Row} row
 * @returns {{name: string, before: string, after: string, differs: boolean}[]}
 */
export function differences(row) {
  const [before, after] = [row.before ?? {}, row.after ?? {}];
  const all = new Set([...Object.keys(before), ...Object.keys(after)]);
  const names = [...all].filter((name) => name !== "roles"); // its sentence lists them
  return names.map((name) => {
    const [was, is] = [value(name, before[name]), value(name, after[name])];
    return { name: inWords(name.replaceAll("_", "-")), before: was, after: is, differs: was !== is };
  });
}

/** Members that hold Unix milliseconds. */
const TIMES = new Set(["expires", "expired", "taken"]);

/**
 * @param {string} name
 * @param {any} raw
 * @returns {string}
 */
function value(name, raw) {
  if (raw === undefined || raw === null || raw === "") return "";
  if (TIMES.has(name) && Number(raw) > 0) return instant(Number(raw));
  if (Array.isArray(raw)) return raw.map((one) => value(name, one)).join(", ");
  return typeof raw === "object" ? JSON.stringify(raw) : String(raw);
}

/**
 * @param {number} milliseconds
 * @returns {string}
 */
function instant(milliseconds) {
  const date = new Date(milliseconds);
  return Number.isNaN(date.getTime()) ? String(milliseconds) : date.toISOString().replace(".000Z", "Z");
}
