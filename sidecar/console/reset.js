// @ts-check
/** The page behind the link of a forgotten password. */

import { send } from "./api.js";
import { byId, fill, focusHeading, h } from "./dom.js";
import { connect } from "./form.js";
import { headed } from "./heading.js";
import { onToken } from "./link-token.js";
import { newPasswordFields } from "./new-password.js";

/** @param {string} token */
function open(token) {
  const { first, again, same } = newPasswordFields("New password", "Repeat new password");
  const form = h("form", { class: "stack" }, first.element, again.element,
    h("p", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Set new password")));
  connect(form, {
    fields: [first, again],
    check: same,
    at: { weak_password: first, same_password: first },
    refused: (problem) => {
      if (problem.code === "invitation_gone" && form.isConnected) gone();
      return problem.code === "invitation_gone";
    },
    send: async () => {
      await send("POST", "/v1/password/reset", { token, password: first.value(), tokens: false }, { anonymous: true });
      location.replace("/console/sign-in?done=reset");
    },
  });
  fill(byId("content"), form);
  first.input.focus();
}

function gone() {
  headed("This link is no longer valid");
  fill(byId("content"), h("p", null, "A link works once, for one hour, and only for the role that you had when it was made."),
    h("p", { class: "actions" }, h("a", { class: "button primary", href: "/console/forgot" }, "Ask for a new link")));
  focusHeading();
}

onToken("Choose a new password", open);
