// @ts-check
/** The page behind the link of an invitation. */

import { Problem, send, whoAmI } from "./api.js";
import { changeFailed, hideBanner, persistently } from "./banner.js";
import { byId, fill, focusHeading, h, list, sentence, time } from "./dom.js";
import { drawOffer, wantsFactor } from "./factor-offer.js";
import { connect, words } from "./form.js";
import { headed } from "./heading.js";
import { onToken } from "./link-token.js";
import { newPasswordFields } from "./new-password.js";
import { textField } from "./text-field.js";

/**
 * @typedef {{account: string, inviter: string | null, role: {id: string, title: string, opens: string[]},
 *   email: string, name: string, expires_at: string}} Invitation
 */

/** Token of the link that was opened last. */
let token = "";

const content = byId("content");

function gone() {
  headed("This invitation is no longer valid");
  fill(content,
    h("p", null, "An invitation works once and for a limited time, and a newer link replaces an older one."),
    h("p", null, "Ask the person who invited you for a new link. If you have joined already, sign in."),
    h("p", { class: "actions" }, h("a", { class: "button", href: "/console/sign-in" }, "Sign in")));
  focusHeading();
}

/** @param {Invitation} invitation */
function facts(invitation) {
  const { opens, title } = invitation.role;
  return [
    h("p", null, invitation.inviter ? [h("b", null, invitation.inviter), " invites you to "] : "You are invited to ",
      h("b", null, invitation.account), "."),
    h("dl", { class: "facts" },
      h("dt", null, "E-mail"), h("dd", null, invitation.email),
      h("dt", null, "Role"), h("dd", null, title, h("p", { class: "hint" }, opens.length > 0 ? `Opens ${list(opens)}.` : "")),
      h("dt", null, "Valid until"), h("dd", null, time(invitation.expires_at))),
  ];
}

/** @param {Invitation} invitation */
function drawForm(invitation) {
  const opened = token;
  const name = textField({ label: "Your name", name: "name", autocomplete: "name", value: invitation.name, maxlength: 100 });
  const { first, again, same } = newPasswordFields("Password", "Repeat password");
  const form = h("form", { class: "stack" },
    h("input", { type: "text", name: "username", autocomplete: "username", value: invitation.email, readonly: true, hidden: true }),
    name.element, first.element, again.element,
    h("p", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Join")));
  connect(form, {
    fields: [name, first, again],
    check: same,
    at: { weak_password: first },
    refused: (problem) => {
      if (problem.code === "invitation_gone" && form.isConnected) gone();
      return problem.code === "invitation_gone";
    },
    send: async () => {
      const body = { token: opened, password: first.value(), name: name.value().trim(), tokens: false };
      const joined = await send("POST", "/v1/invitations/accept", body, { anonymous: true });
      await enter(invitation, joined, first.value());
    },
  });
  fill(content, facts(invitation), form);
  (invitation.name ? first : name).input.focus();
}

/**
 * Sign in with what was typed. If that fails, the sign-in page is the way in: the person has joined.
 * @param {Invitation} invitation
 * @param {{account: string}} joined
 * @param {string} password
 */
async function enter(invitation, joined, password) {
  try {
    const body = { username: invitation.email, password, account: joined.account };
    await send("POST", "/v1/session", body, { anonymous: true });
    if (await wantsFactor()) drawOffer(content, () => location.replace("/console/"));
    else location.replace("/console/");
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    location.replace("/console/sign-in?done=joined");
  }
}

/**
 * @param {Invitation} invitation
 * @param {{name: string, email: string}} me
 */
function drawSignedIn(invitation, me) {
  const out = h("button", { type: "button", class: "primary" }, "Sign out");
  const error = h("p", { class: "form-error", role: "alert", hidden: true });
  out.addEventListener("click", async () => {
    hideBanner();
    try {
      await send("DELETE", "/v1/session", undefined, { anonymous: true });
      drawForm(invitation);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      if (problem.outage) return changeFailed(problem, () => out.click());
      fill(error, words(problem));
      error.hidden = false;
    }
  });
  const who = me.name ? `${me.name} (${me.email})` : me.email;
  fill(content, facts(invitation), error,
    h("p", null, `You are signed in as ${who}. To accept this invitation, sign out first.`),
    h("p", { class: "actions" }, out));
  out.focus();
}

/** @param {string} opened */
async function open(opened) {
  token = opened;
  fill(content);
  const me = persistently(whoAmI);
  try {
    /** @type {Invitation} */
    const invitation = await persistently(() => send("POST", "/v1/invitations/show", { token: opened }, { anonymous: true }));
    const signedIn = await me;
    if (opened !== token) return;
    headed(`Join ${invitation.account}`);
    if (signedIn) drawSignedIn(invitation, signedIn);
    else drawForm(invitation);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (opened !== token) return;
    if (problem.code === "invitation_gone") gone();
    else fill(content, h("p", { class: "form-error", role: "alert" }, problem.code === "rate_limited" ? words(problem) : sentence(problem.detail)));
  }
}

onToken("Join", (opened) => void open(opened));
