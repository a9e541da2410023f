// @ts-check
/** What the menu of a row does: role, status, removal; the rest is in `user-more.js`. */

import { exchange, send } from "./api.js";
import { confirmDialog, openDialog } from "./dialog.js";
import { fill, h, sentence, status } from "./dom.js";
import { connect } from "./form.js";
import { onDemand } from "./load.js";
import { appointable, done, everywhere, nameOf, path, possessive, revoked } from "./member.js";
import { radioField } from "./radio-field.js";
import { difference } from "./role-words.js";

/**
 * @typedef {import("./member.js").Member} Member
 * @typedef {import("./member.js").Context} Context
 */

/**
 * Return the items of a row's menu: what applies to this person.
 * @param {Member} member
 * @param {Context} context
 * @returns {import("./menu.js").Item[]}
 */
export function actionsFor(member, context) {
  const role = { title: "Change role", act: (/** @type {HTMLElement} */ opener) => changeRole(member, context, opener) };
  const note = { title: "An e-mail cannot be changed in this version.", note: true };
  /** @param {string} title @param {Act} act @param {boolean} [danger] */
  const item = (title, act, danger = false) => ({
    title, danger, act: (/** @type {HTMLElement} */ opener) => act(member, context, opener),
  });
  const again = item("Invite again", more("inviteAgain"), true);
  if (member.id === context.own) return [role];
  if (member.review) return [item("Review", review), note, again, item("Remove", remove, true)];
  if (member.status === "invited") {
    return [item("New invitation link", more("newLink")), role, note, again, item("Revoke invitation", more("revoke"), true)];
  }
  return [
    role,
    member.status === "suspended" ? item("Resume", resume) : item("Suspend", suspend),
    ...(member.sessions === 0 ? [] : [item("Sign out everywhere", more("signOutEverywhere"))]),
    ...(member.status === "active" ? [item("Send password reset", more("passwordReset"))] : []),
    ...(member.factors ? [item("Confirm factor", more("confirmFactor")), item("Reset second factors", more("resetFactors"), true)] : []),
    note, again, item("Remove", remove, true),
  ];
}

/** @typedef {(member: Member, context: Context, opener: HTMLElement) => void} Act */

/** @type {Act} */
function review(member, context, opener) {
  onDemand(() => import("./user-review.js")).then(
    (loaded) => loaded.review(member, context, opener),
    (problem) => status(sentence(problem.detail)));
}

/**
 * Return an act of the module that is loaded at its first use.
 * @param {keyof typeof import("./user-more.js")} name
 * @returns {Act}
 */
function more(name) {
  return (member, context, opener) => {
    onDemand(() => import("./user-more.js")).then(
      (loaded) => loaded[name](member, context, opener),
      (problem) => status(sentence(problem.detail)));
  };
}

/** @type {Act} */
function changeRole(member, context, opener) {
  const { roles, titles } = context;
  const name = nameOf(member);
  const before = roles.find((one) => one.id === member.role);
  const words = h("div", { class: "difference", "aria-live": "polite" });
  const choices = roles.map((one) => ({ value: one.id, title: one.title, description: one.description }));
  /** @param {string} id */
  const tell = (id) => {
    const after = roles.find((one) => one.id === id);
    const when = member.status === "invited" ? "In force when the invitation is accepted." : `In force at ${possessive(name)} next click.`;
    fill(words, before && after && before !== after
      ? h("p", null, [...difference(name, before, after, titles), when].join(" ")) : null);
  };
  const role = radioField({ legend: "Role", name: "role", choices, chosen: member.role, onchange: tell });
  const cancel = h("button", { type: "button" }, "Cancel");
  const form = h("form", null, role.element, words,
    h("p", { class: "actions" }, cancel, h("button", { type: "submit", class: "primary" }, "Change role")));
  const chosen = role.element.querySelector("input:checked");
  const dialog = openDialog({
    title: `Change role of ${name}`, body: form, opener, wide: true, focus: chosen instanceof HTMLElement ? chosen : null,
  });
  cancel.addEventListener("click", dialog.close);
  connect(form, {
    fields: [role],
    check: () => {
      if (role.value() !== member.role) return true;
      role.setError(`${name} has this role now. Choose another one.`);
      return false;
    },
    at: { last_admin: role, unknown_role: role, role_above_yours: role },
    explain: (problem) => appointable(problem, context),
    send: async () => {
      const changed = await send("PATCH", path(member), { role: role.value() });
      const title = roles.find((one) => one.id === changed.role)?.title ?? changed.role;
      if (member.id === context.own) {
        location.reload();
        return;
      }
      const more = member.status === "invited" ? " A link for a lesser role has ended: send a new invitation link." : "";
      await done(dialog, context, `${name} is now ${title}. ${everywhere(changed.revocation?.complete ?? true)}${more}`);
    },
  });
}

/** @type {Act} */
function suspend(member, context, opener) {
  const name = nameOf(member);
  const dialog = confirmDialog({
    title: `Suspend ${name}`, opener,
    body: h("p", null, `${name} is signed out at once and cannot sign in until you resume. The seat stays taken.`),
    explain: (problem) => appointable(problem, context),
    act: async () => {
      const changed = await send("PATCH", path(member), { status: "suspended" });
      await done(dialog, context, `${name} is suspended. ${everywhere(changed.revocation?.complete ?? true)}`);
    },
  });
}

/** @type {Act} */
function resume(member, context, opener) {
  const name = nameOf(member);
  const dialog = confirmDialog({
    title: `Resume ${name}`, opener, danger: false,
    body: h("p", null, `${name} can sign in again, in the same role.`),
    act: async () => {
      await send("PATCH", path(member), { status: "active" });
      await done(dialog, context, `${name} can sign in again.`);
    },
  });
}

/** @type {Act} */
function remove(member, context, opener) {
  const name = nameOf(member);
  const dialog = confirmDialog({
    title: `Remove ${name}`, opener,
    body: h("p", null, `${name} loses access at once, and the seat is free. The audit keeps the name. This cannot be undone.`),
    explain: (problem) => appointable(problem, context),
    act: async () => {
      const complete = revoked(await exchange("DELETE", path(member)));
      await done(dialog, context, `${name} was removed. ${everywhere(complete)}`);
    },
  });
}
