// @ts-check
/** The dialog "Invite user", and the link of an invitation. */

import { Problem, send } from "./api.js";
import { changeFailed } from "./banner.js";
import { openDialog } from "./dialog.js";
import { fill, h } from "./dom.js";
import { connect, words } from "./form.js";
import { linkBox } from "./link.js";
import { radioField } from "./radio-field.js";
import { opensText } from "./role-words.js";
import { textField } from "./text-field.js";

/**
 * @typedef {import("./role-words.js").Role} Role
 * @typedef {{email?: string, name?: string, role?: string}} Prefilled
 */

/**
 * Return the radio group "Role".
 * @param {Role[]} roles
 * @param {Map<string, string>} titles section id → title
 * @param {string} [chosen] id of a role
 */
function roleField(roles, titles, chosen) {
  const choices = roles.map((role) => ({
    value: role.id, title: role.title,
    description: [role.description, h("span", { class: "opens" }, opensText(role, titles))],
  }));
  return radioField({ legend: "Role", name: "role", choices, chosen, missing: "Choose a role." });
}

/**
 * Open the dialog.
 * @param {object} options
 * @param {HTMLElement} options.opener
 * @param {Role[]} options.roles
 * @param {Map<string, string>} options.titles
 * @param {Prefilled} [options.prefilled]
 * @param {() => void} options.changed called when the list of users may have changed
 */
export function openInviteDialog({ opener, roles, titles, prefilled = {}, changed }) {
  const email = textField({ label: "E-mail", name: "email", type: "email", value: prefilled.email ?? "" });
  const name = textField({
    label: "Name", name: "name", value: prefilled.name ?? "", missing: null, maxlength: 100,
    hint: "Optional: it can be changed when the invitation is accepted.",
  });
  const role = roleField(roles, titles, prefilled.role);
  const cancel = h("button", { type: "button" }, "Cancel");
  const form = h("form", null, email.element, name.element, role.element,
    h("p", { class: "actions" }, cancel, h("button", { type: "submit", class: "primary" }, "Send invitation")));
  const dialog = openDialog({ title: "Invite user", body: form, opener, wide: true, focus: email.input });
  cancel.addEventListener("click", dialog.close);
  const key = idempotencyKey();
  connect(form, {
    fields: [email, name, role],
    at: { invalid_email: email, already_member: email, unknown_role: role, role_above_yours: role },
    refused: (problem) => {
      if (problem.code === "seat_limit") changed();
      if (problem.code !== "already_invited" || typeof problem.body.id !== "string") return false;
      email.setError(["This e-mail is invited already. ", resendButton(problem.body.id, email, dialog, changed)]);
      return true;
    },
    send: async () => {
      const body = { email: email.value().trim(), name: name.value().trim(), role: role.value() };
      const done = await send("POST", "/v1/users", body, { headers: { "Idempotency-Key": key(body) } });
      showInvitation(dialog, done);
      changed();
    },
  });
}

/**
 * @param {string} user
 * @param {import("./fields.js").Field} email
 * @param {import("./dialog.js").OpenDialog} dialog
 * @param {() => void} changed
 */
function resendButton(user, email, dialog, changed) {
  const button = h("button", { type: "button" }, "Send a new link");
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    try {
      showInvitation(dialog, await send("POST", `/v1/users/${encodeURIComponent(user)}/invitation`));
      changed();
    } catch (problem) {
      button.removeAttribute("aria-disabled");
      if (!(problem instanceof Problem)) throw problem;
      if (problem.outage) changeFailed(problem, () => button.click());
      else email.setError(words(problem));
    }
  });
  return button;
}

/**
 * Show the link of an invitation in place of the dialog's form.
 * @param {import("./dialog.js").OpenDialog} dialog
 * @param {{user: {email: string, name: string}, invitation: {url: string | null, expires_at: string, mailed: boolean | null}}} done
 */
export function showInvitation(dialog, { user, invitation }) {
  const close = h("button", { type: "button" }, "Done");
  close.addEventListener("click", dialog.close);
  const mailed = invitation.mailed
    ? `A mail with a link of its own is on its way to ${user.email}.`
    : `No mail was sent: hand this link to ${user.name || user.email} yourself.`;
  const told = h("p", { tabindex: "-1" },
    h("b", null, `${user.name || user.email} is invited. `), mailed);
  const body = dialog.element.querySelector(".dialog-body");
  if (!body) return;
  fill(body, told,
    invitation.url
      ? linkBox({ label: "Link of the invitation", url: invitation.url, expiresAt: invitation.expires_at })
      : h("p", null, "The link was shown before, and is shown only once. “New invitation link” makes another one."),
    h("p", { class: "actions" }, close));
  told.focus();
}

/** Return a function from a body to its Idempotency-Key: the same body again is the same request. */
function idempotencyKey() {
  let last = "";
  let key = "";
  return (/** @type {unknown} */ body) => {
    const text = JSON.stringify(body);
    if (text !== last) {
      last = text;
      key = [...crypto.getRandomValues(new Uint8Array(16))].map((one) => one.toString(16).padStart(2, "0")).join("");
    }
    return key;
  };
}
