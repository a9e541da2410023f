// @ts-check
/** Roles in words: what one opens, and what a change of role takes and gives. Pure functions. */

import { lowerFirst } from "./dom.js";
import { sections, titled } from "./shell.js";

/**
 * A role as `GET /v1/roles` lists it. Older sidecars have no `permissions` and `everything`.
 * @typedef {{id: string, title: string, description: string, opens: string[],
 *   permissions?: Omit<import("./shell.js").Cell, "decision">[], everything?: boolean}} Role
 */

/**
 * Return what a role opens: "Opens Analytics, Billing."
 * @param {Role} role
 * @param {Map<string, string>} titles section id → title
 */
export function opensText(role, titles) {
  if (role.everything) return "Opens everything, also managing users and this policy.";
  const names = role.opens.map((id) => titles.get(id) ?? titled(id));
  return names.length === 0 ? "Opens nothing." : `Opens ${names.join(", ")}.`;
}

/**
 * Return the difference between two roles in sentences, without the time at which it counts.
 * @param {string} person
 * @param {Role} before
 * @param {Role} after
 * @param {Map<string, string>} titles
 * @returns {string[]}
 */
export function difference(person, before, after, titles) {
  const lost = minus(before, after, titles);
  const gained = minus(after, before, titles);
  return [
    ...(lost ? [`${person} loses ${lost}.`] : []),
    ...(gained ? [`${person} gains ${gained}.`] : []),
    ...(lost || gained ? [] : [`Nothing changes: both roles open the same.`]),
  ];
}

/**
 * Return what one role allows and another does not: "Billing: view, change plan; Analytics: view".
 * @param {Role} role
 * @param {Role} other
 * @param {Map<string, string>} titles
 */
function minus(role, other, titles) {
  if (!role.permissions || !other.permissions) {
    return role.opens.filter((id) => !other.opens.includes(id)).map((id) => titles.get(id) ?? titled(id)).join("; ");
  }
  const has = new Set(other.permissions.map((one) => `${one.section} ${one.action}`));
  const cells = role.permissions.filter((one) => !has.has(`${one.section} ${one.action}`));
  return sections(cells.map((one) => ({ ...one, decision: true })))
    .map((one) => `${one.title}: ${one.actions.map((action) => lowerFirst(action.title)).join(", ")}`)
    .join("; ");
}
