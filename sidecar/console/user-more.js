// @ts-check
/** What the menu of a row does more rarely: links, sessions, second factors. */

import { exchange, send } from "./api.js";
import { confirmDialog } from "./dialog.js";
import { fill, h, plural, status } from "./dom.js";
import { linkBox } from "./link.js";
import { appointable, done, everywhere, nameOf, path, possessive, revoked } from "./member.js";
import { openInviteDialog, showInvitation } from "./user-invite.js";

/**
 * @typedef {import("./member.js").Member} Member
 * @typedef {import("./member.js").Context} Context
 * @typedef {(member: Member, context: Context, opener: HTMLElement) => void} Act
 */

/** @type {Act} */
export function revoke(member, context, opener) {
  const name = nameOf(member);
  const dialog = confirmDialog({
    title: `Revoke invitation of ${name}`, opener, verb: `Revoke invitation of ${name}`,
    body: h("p", null, "The link stops working at once, and the seat is free."),
    act: async () => {
      await exchange("DELETE", path(member));
      await done(dialog, context, `The invitation of ${name} was revoked.`);
    },
  });
}

/** @type {Act} */
export function newLink(member, context, opener) {
  const name = nameOf(member);
  const dialog = confirmDialog({
    title: `New invitation link for ${name}`, verb: "Send a new link", opener, danger: false,
    body: h("p", null, "The old link stops working. The new one is shown here once, and mailed if there is a mail server."),
    act: async () => {
      showInvitation(dialog, await send("POST", `${path(member)}/invitation`));
      await context.refresh();
    },
  });
}

/** @type {Act} */
export function signOutEverywhere(member, context, opener) {
  const name = nameOf(member);
  const count = member.sessions === undefined ? "All sessions end" : `${plural(member.sessions, "session ends", "sessions end")}`;
  const dialog = confirmDialog({
    title: `Sign ${name} out everywhere`, opener,
    body: h("p", null, `${count} at once. ${name} can sign in again.`),
    act: async () => {
      const complete = revoked(await exchange("DELETE", `${path(member)}/sessions`));
      await done(dialog, context, `${name} was signed out everywhere. ${everywhere(complete)}`);
    },
  });
}

/** @type {Act} */
export function passwordReset(member, context, opener) {
  const name = nameOf(member);
  const dialog = confirmDialog({
    title: `Send password reset to ${name}`, verb: "Send password reset", opener, danger: false,
    body: h("p", null, `If mail is set up, a mail with a link goes to ${member.email}; else you get the link to hand over. The present password works until the link is used.`),
    act: async () => {
      const { mailed } = await send("POST", `${path(member)}/password-reset`, {});
      if (mailed) {
        dialog.close();
        status(`A mail with a link is on its way to ${member.email}.`);
        return;
      }
      dialog.close();
      await dialog.closed;
      offerLink(member, context, opener);
    },
  });
}

/** Offer to show the link, because no mail can be sent. @type {Act} */
function offerLink(member, context, opener) {
  const name = nameOf(member);
  const dialog = confirmDialog({
    title: `No mail was sent to ${name}`, verb: "Show the link", opener, danger: false,
    body: h("p", null, `No mail server is set up. You can hand over the link yourself; the e-mail of ${name} then counts as not verified.`),
    act: async () => {
      const { reset } = await send("POST", `${path(member)}/password-reset`, { show: true });
      const close = h("button", { type: "button", onclick: () => dialog.close() }, "Done");
      const body = dialog.element.querySelector(".dialog-body");
      if (!body) return;
      fill(body, linkBox({ label: `Link for ${name}`, url: reset.url, expiresAt: reset.expires_at }), h("p", { class: "actions" }, close));
      body.querySelector("input")?.focus();
      await context.refresh();
    },
  });
}

/** Remove somebody with a wrong e-mail, then open the invitation with name and role. @type {Act} */
export function inviteAgain(member, context, opener) {
  const name = nameOf(member);
  const dialog = confirmDialog({
    title: `Invite ${name} again`, verb: `Remove ${name} and invite again`, opener,
    body: h("p", null, `An e-mail cannot be changed. ${name} (${member.email}) is removed first and loses access at once; then you enter the right e-mail.`),
    explain: (problem) => appointable(problem, context),
    act: async () => {
      await exchange("DELETE", path(member));
      await done(dialog, context, `${name} was removed.`);
      openInviteDialog({
        opener: document.getElementById("invite") ?? opener, roles: context.roles, titles: context.titles,
        prefilled: { name: member.name, role: member.role }, changed: () => void context.refresh(),
      });
    },
  });
}

/** @type {Act} */
export function resetFactors(member, context, opener) {
  const name = nameOf(member);
  const dialog = confirmDialog({
    title: `Reset second factors of ${name}`, opener,
    body: h("p", null, `${plural(member.factors ?? 0, "second factor")} and the recovery codes of ${name} are removed, and all sessions end. Do this only for somebody whom you recognise: afterwards the password alone signs in.`),
    act: async () => {
      const complete = revoked(await exchange("DELETE", `${path(member)}/factors`));
      await done(dialog, context, `${possessive(name)} second factors were removed. ${everywhere(complete)}`);
    },
  });
}

/** @type {Act} */
export function confirmFactor(member, context, opener) {
  const name = nameOf(member);
  const dialog = confirmDialog({
    title: `Confirm factor of ${name}`, opener, danger: false,
    body: h("p", null, `A first second factor counts 24 hours after it was added, so that a stolen password is not enough. If ${name} added it, confirm it: then it counts at once.`),
    act: async () => {
      await send("POST", `${path(member)}/factors/confirm`);
      await done(dialog, context, `${possessive(name)} second factor counts now.`);
    },
  });
}
