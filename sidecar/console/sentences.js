// @ts-check
// Rows of the audit as English sentences: "Ann made Bob an Accountant (was Marketer), from 10.0.0.4". Pure.

import { effect } from "./audit-policy.js";
import { count, withArticle } from "./titles.js";

/**
 * Row of `GET /v1/audit`. Names and addresses are as they were at the time of the change.
 * @typedef {object} Row
 * @property {number | null} seq null for a change of the policy, which no account's log holds
 * @property {string} at
 * @property {string} action
 * @property {string | null} actor
 * @property {string | null} [actor_name]
 * @property {string | null} [actor_email]
 * @property {string | null} target
 * @property {string | null} [target_name]
 * @property {string | null} [target_email]
 * @property {Record<string, any> | null} before
 * @property {Record<string, any> | null} after
 * @property {string} address
 * @property {string} request_id
 */

/**
 * Part of a sentence: plain text, a name that users chose, or an actor that is no user.
 * @typedef {string | {name: string} | {system: string}} Part
 * @typedef {import("./titles.js").TitleOf} TitleOf
 * @typedef {{actor: Part, target: Part, self: boolean, before: Record<string, any>, after: Record<string, any>,
 *   role: TitleOf, section?: TitleOf}} Facts
 */

/** @type {Record<string, string>} */
const PROOFS = {
  password: "the password",
  totp: "an authenticator code",
  passkey: "a passkey",
  "recovery-code": "a recovery code",
};

/**
 * @param {string[]} methods
 * @returns {string[]}
 */
const proofs = (methods) => methods.map((method) => PROOFS[method] ?? method);

/** @type {Record<string, (facts: Facts) => Part[]>} */
const SENTENCES = {
  "account.created": ({ actor, target, after }) =>
    say`${actor} created the account ${target} with ${count(after.cap, "seat")}`,
  "account.deleted": ({ actor, target, before }) =>
    say`${actor} deleted the account ${target} with ${count(before.users, "user")}`,
  "account.seats": ({ actor, before, after }) =>
    say`${actor} changed the seats from ${before.cap} to ${after.cap}`,
  "account.status": ({ actor, after }) =>
    say`${actor} ${after.status === "suspended" ? "suspended" : "resumed"} the account`,
  "account.labels": ({ actor, after }) =>
    after.labels
      ? say`${actor} set the labels of the account to ${after.labels.split(" ").join(", ")}`
      : say`${actor} removed the labels of the account`,
  "account.recovered": ({ actor }) => say`${actor} recovered changes that the store had lost`,
  "account.restored": ({ actor }) => say`${actor} restored the account from a backup`,
  "store.repaired": ({ actor }) => say`${actor} repaired the account's indexes`,
  "user.created": ({ actor, target, after, role }) =>
    say`${actor} added ${target}${mailbox(after)} as ${role(after.role)}`,
  "user.invited": ({ actor, target, after, role }) =>
    say`${actor} invited ${target}${mailbox(after)} as ${role(after.role)}`,
  "user.changed": changed,
  "user.removed": ({ actor, target, before, role }) =>
    say`${actor} removed ${target} (was ${role(before.role)})`,
  "user.password": passwordSet,
  "user.reset_link": ({ actor, target, after }) =>
    after.shown === false
      ? say`${actor} sent ${target} a password reset link`
      : say`${actor} was shown a password reset link for ${target}`,
  "user.signed_out": ({ actor, target, self }) =>
    self ? say`${actor} signed out everywhere` : say`${actor} signed ${target} out everywhere`,
  "user.epoch_raised": ({ target }) => say`All sessions of ${target} ended, because the store had lost a change`,
  "user.held": ({ target }) => say`${target} is held for review, because the store had lost a change`,
  "user.reviewed": ({ actor, target, after, role }) =>
    say`${actor} reviewed ${target}: ${role(after.role)}, ${after.status}`,
  "user.linked": ({ target, after }) => say`${target} was linked to a sign-in at ${named(after.issuer)}`,
  "user.unlinked": ({ actor, target, before }) =>
    say`${actor} unlinked ${target} from ${before.issuer ? named(before.issuer) : "all outside sign-ins"}`,
  "invitation.accepted": ({ target, after, role }) =>
    say`${target} accepted the invitation as ${role(after.role)}`,
  "invitation.resent": ({ actor, target }) => say`${actor} sent ${target} a new invitation link`,
  "invitation.revoked": ({ actor, target, before, role }) =>
    say`${actor} revoked the invitation of ${target} (as ${role(before.role)})`,
  "invitation.expired": ({ target, before, role }) =>
    say`The invitation of ${target} as ${role(before.role)} expired`,
  "session.opened": ({ target }) => say`${target} signed in`,
  "session.stepped_up": ({ target, after }) =>
    say`${target} signed in again with ${proofs(after.methods ?? ["another proof"]).join(" and ")}`,
  "factor.added": ({ actor, after }) => say`${actor} added the second factor ${named(after.name)}`,
  "factor.renamed": ({ actor, before, after }) =>
    say`${actor} renamed the second factor ${named(before.name)} to ${named(after.name)}`,
  "factor.removed": ({ actor, before }) => say`${actor} removed the second factor ${named(before.name)}`,
  "factor.reset": ({ actor, target }) => say`${actor} removed all second factors of ${target}`,
  "factor.confirmed": ({ actor, target }) => say`${actor} confirmed the second factor of ${target}`,
  "factor.recovery_codes": ({ actor }) => say`${actor} replaced their recovery codes`,
  "factor.counter_refused": ({ target }) =>
    say`A passkey of ${target} was refused, because its counter went back: it may have been copied`,
  "session.ended": ({ actor, target, self, before }) => {
    const sessions = count(before.sessions?.length, "session");
    if (self && before.sessions?.length === 1) return say`${actor} signed out of one session`;
    return self ? say`${actor} ended ${sessions} of their own` : say`${actor} ended ${sessions} of ${target}`;
  },
  "session.reused": ({ target }) => say`An old token of ${target} was used again, so its session ended`,
  "sign_in.failed": ({ target, after }) =>
    after.addresses
      ? say`${count(after.count, "sign-in")} of ${target} failed, from ${after.addresses.join(", ")}`
      : say`${count(after.count, "further sign-in")} failed within the hour`,
  "pep.created": ({ actor, target }) => say`${actor} created the key ${target} for a gateway or service`,
  "pep.revoked": ({ actor, target }) => say`${actor} revoked the key ${target} of a gateway or service`,
  "policy.activated": ({ after, role, section }) => [`The policy changed. ${effect(after.roles, role, section)}`],
  "policy.reverted": ({ after, role, section }) => [`An earlier policy came back. ${effect(after.roles, role, section)}`],
};

/** Kinds of change, for the filter: action → label. */
export const KINDS = {
  "user.invited": "Invited",
  "user.created": "Added by an operator",
  "user.changed": "Role, name or status changed",
  "user.removed": "Removed",
  "user.password": "Password changed",
  "user.reset_link": "Password reset link",
  "user.signed_out": "Signed out everywhere",
  "user.linked": "Linked to an outside sign-in",
  "user.unlinked": "Unlinked from an outside sign-in",
  "user.held": "Held for review",
  "user.reviewed": "Reviewed",
  "user.epoch_raised": "Sessions ended after a loss",
  "invitation.accepted": "Invitation accepted",
  "invitation.resent": "Invitation sent again",
  "invitation.revoked": "Invitation revoked",
  "invitation.expired": "Invitation expired",
  "session.opened": "Signed in",
  "session.stepped_up": "Signed in again",
  "factor.added": "Second factor added",
  "factor.renamed": "Second factor renamed",
  "factor.removed": "Second factor removed",
  "factor.reset": "Second factors reset",
  "factor.confirmed": "Second factor confirmed",
  "factor.recovery_codes": "Recovery codes replaced",
  "factor.counter_refused": "Passkey refused",
  "session.ended": "Session ended",
  "session.reused": "Old token used again",
  "sign_in.failed": "Sign-in failed",
  "account.created": "Account created",
  "account.deleted": "Account deleted",
  "account.seats": "Seats changed",
  "account.status": "Account suspended or resumed",
  "account.labels": "Labels of the account changed",
  "account.recovered": "Account recovered",
  "account.restored": "Account restored",
  "store.repaired": "Indexes repaired",
  "pep.created": "Key created",
  "pep.revoked": "Key revoked",
  "policy.activated": "Policy changed",
  "policy.reverted": "Earlier policy came back",
};

/**
 * Return the parts of a row's sentence, without the time.
 * @param {Row} row
 * @param {TitleOf} role title of a role id
 * @param {TitleOf} [section] title of a section id
 * @returns {Part[]}
 */
export function parts(row, role, section) {
  const facts = {
    actor: actorOf(row),
    target: targetOf(row),
    self: row.actor !== null && row.actor === row.target,
    before: row.before ?? {},
    after: row.after ?? {},
    role,
    section,
  };
  const known = Object.hasOwn(SENTENCES, row.action);
  const of = row.target ? say` of ${facts.target}` : [];
  const found = known ? SENTENCES[row.action](facts) : say`${facts.actor}: ${row.action}${of}`;
  return [...found, origin(row)].filter((part) => part !== "");
}

/**
 * Return a row's sentence as text.
 * @param {Row} row
 * @param {TitleOf} role title of a role id
 * @param {TitleOf} [section] title of a section id
 * @returns {string}
 */
export function sentence(row, role, section) {
  return parts(row, role, section)
    .map((part) => (typeof part === "string" ? part : "name" in part ? part.name : part.system))
    .join("");
}

/**
 * Describe each difference of role, status and name; more than one in one sentence.
 * @param {Facts} facts
 * @returns {Part[]}
 */
function changed({ actor, target, self, before, after, role }) {
  /** @type {Part[][]} */
  const told = [];
  if (before.role !== after.role) {
    told.push(say`made ${self ? "themselves" : target} ${withArticle(role(after.role))} (was ${role(before.role)})`);
  }
  if (before.status !== after.status) {
    const verb = after.status === "suspended" ? "suspended" : "resumed";
    told.push(say`${verb} ${told.length ? "them" : target}`);
  }
  if (before.name !== after.name) {
    const from = before.name ? say` from ${named(before.name)}` : "";
    const whose = self || told.length ? "their name" : say`the name of ${before.name ? "a user" : target}`;
    told.push(say`changed ${whose}${from} to ${named(after.name)}`);
  }
  if (!told.length) told.push(say`saved ${self ? "their own entry" : target} unchanged`);
  return told.flatMap((one, index) => (index === 0 ? [actor, " ", ...one] : [" and ", ...one]));
}

/**
 * Describe a new password. The user of a link is not known, but who was shown it is.
 * @param {Facts} facts
 * @returns {Part[]}
 */
function passwordSet({ actor, target, self, after }) {
  if (after.via === "mailed_link") return say`${target} set a new password with a mailed link`;
  if (after.via === "shown_link") {
    const maker = after.maker ? named(after.maker_name || after.maker) : { system: "an operator" };
    return say`A new password of ${target} was set with a link that ${maker} was shown`;
  }
  return self ? say`${actor} changed their password` : say`${actor} changed the password of ${target}`;
}

/**
 * @param {Row} row
 * @returns {Part}
 */
function actorOf(row) {
  if (row.actor === null) return { system: row.address === "cli" ? "An operator" : "The sidecar" };
  return named(row.actor_name || row.actor_email || row.actor);
}

/**
 * Return the target's name as of the change. The row itself holds it when the user is gone.
 * @param {Row} row
 * @returns {Part}
 */
function targetOf(row) {
  const [before, after] = [row.before ?? {}, row.after ?? {}];
  const name = row.target_name || before.name || after.name;
  return named(name || row.target_email || before.email || after.email || row.target);
}

/** Places that are no address: what a row without a request holds. */
const PLACES = new Set(["expiry", "outside issuer", ""]);

/**
 * @param {Row} row
 * @returns {string}
 */
function origin(row) {
  if (row.address === "cli") return ", on the command line";
  if (row.action === "sign_in.failed") return "";  // its sentence lists the addresses
  if (row.actor === null || PLACES.has(row.address)) return "";
  return `, from ${row.address}`;
}

/**
 * Return the e-mail in brackets, unless it is the only name.
 * @param {Record<string, any>} user
 * @returns {Part[]}
 */
function mailbox({ name, email }) {
  return name && email ? [` (${email})`] : [];
}

/** Text in place of a fact that a row does not hold. */
const UNKNOWN = "(unknown)";

/**
 * @param {unknown} text
 * @returns {Part}
 */
function named(text) {
  return text === undefined || text === null || text === "" ? UNKNOWN : { name: String(text) };
}

/**
 * Tag of a template: return its parts in order, nested ones flat.
 * @param {TemplateStringsArray} texts
 * @param {...(Part | Part[] | number | undefined | null)} values
 * @returns {Part[]}
 */
function say(texts, ...values) {
  return texts.flatMap((text, index) => {
    if (index === values.length) return [text];
    const next = values[index] ?? UNKNOWN;
    return [text, ...(Array.isArray(next) ? next : [typeof next === "number" ? String(next) : next])];
  });
}
