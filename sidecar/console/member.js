// @ts-check
/** A member of the list of users, and the words that its dialogs share. */

import { status } from "./dom.js";

/**
 * @typedef {{role_before: string, role_now: string, status_before: string, status_now: string, since: string}} Review
 * @typedef {{id: string, email: string, name: string, role: string, status: "active" | "suspended" | "invited",
 *   created_at: string, last_login_at: string | null, invite_expires_at: string | null, review?: Review | null,
 *   email_verified?: boolean, sessions?: number, inviter?: string | null, factors?: number}} Member
 * @typedef {object} Context
 * @property {Member[]} members
 * @property {import("./role-words.js").Role[]} roles
 * @property {Map<string, string>} titles section id → title
 * @property {string} own id of the signed-in person
 * @property {() => Promise<void>} refresh draws the list again
 */

export const ADMINISTRATOR = "account-administrator";

/** @param {Member} member */
export function nameOf(member) {
  return member.name || member.email;
}

/**
 * @param {import("./dialog.js").OpenDialog} dialog
 * @param {Context} context
 * @param {string} message
 */
export async function done(dialog, context, message) {
  await context.refresh();
  dialog.close();
  await dialog.closed;
  status(message);
}

/** @param {Member} member */
export function path(member) {
  return `/v1/users/${encodeURIComponent(member.id)}`;
}

/** @param {import("./api.js").Answer} answer */
export function revoked(answer) {
  return answer.headers.get("X-Sidecar-Revocation") !== "incomplete";
}

/** @param {boolean} complete */
export function everywhere(complete) {
  return complete ? "All sidecars have it." : "Some sidecars do not have it yet; they will within seconds.";
}

/** @param {string} name */
export function possessive(name) {
  return name.endsWith("s") ? `${name}'` : `${name}'s`;
}

/**
 * Return who could be appointed before the last administrator goes.
 * @param {import("./api.js").Problem} problem
 * @param {Context} context
 */
export function appointable(problem, context) {
  if (problem.code !== "last_admin") return "";
  const names = context.members.filter((one) => one.status === "active" && one.role !== ADMINISTRATOR).map(nameOf);
  if (names.length === 0) return "There is no other active member to appoint: invite one first.";
  return `You could appoint ${new Intl.ListFormat("en", { type: "disjunction" }).format(names)}.`;
}

