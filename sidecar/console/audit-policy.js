// @ts-check
// Changes of the policy among the rows of the audit. Pure.

import { inWords } from "./titles.js";

/**
 * @typedef {import("./sentences.js").Row} Row
 * @typedef {{role: string, opened: string[], closed: string[], changed: string[]}} RoleSections
 * @typedef {{at: string, action: string, generation: string, before: string, roles: RoleSections[] | null}} PolicyChange
 */

/**
 * Return rows and changes in one list, newest first. Rows stay in the order of their numbers.
 * @param {Row[]} entries
 * @param {PolicyChange[]} changes
 * @returns {Row[]}
 */
export function merged(entries, changes) {
  const waiting = changes.map(asRow);
  const found = entries.flatMap((row) => {
    const newer = waiting.findIndex((one) => Date.parse(one.at) < Date.parse(row.at));
    return [...waiting.splice(0, newer < 0 ? waiting.length : newer), row];
  });
  return [...found, ...waiting];
}

/**
 * @param {PolicyChange} change
 * @returns {Row}
 */
function asRow({ at, action, generation, before, roles }) {
  return {
    seq: null, at, action, actor: null, target: null,
    before: { generation: before }, after: { generation, roles }, address: "", request_id: "",
  };
}

/**
 * Return what each role gained and lost: "Marketer gained Analytics and lost Billing."
 * @param {RoleSections[] | null} roles
 * @param {(role: string) => string} role
 * @param {(section: string) => string} [section]
 */
export function effect(roles, role, section = inWords) {
  if (!roles) return "Which sections it opened and closed is not recorded.";
  if (!roles.length) return "It opened and closed no section.";
  /** @param {string} verb @param {string[]} ids */
  const part = (verb, ids) => (ids.length ? [`${verb} ${ids.map(section).join(", ")}`] : []);
  return roles.map((one) => `${role(one.role)} ${[
    ...part("gained", one.opened), ...part("lost", one.closed), ...part("has other actions in", one.changed),
  ].join("; ")}.`).join(" ");
}
