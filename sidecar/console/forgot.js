// @ts-check
/** The page that asks for a link to choose a new password. The answer is the same for everybody. */

import { send } from "./api.js";
import { byId, fill, h, sentence } from "./dom.js";
import { connect } from "./form.js";
import { textField } from "./text-field.js";

const email = textField({
  label: "E-mail", name: "email", type: "email", autocomplete: "username",
  hint: "A link to choose a new password goes to this address.",
});
const back = h("p", null, h("a", { href: "/console/sign-in" }, "Back to sign in"));
const form = h("form", { class: "stack" }, email.element,
  h("p", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Send a link")));

connect(form, {
  fields: [email],
  send: async () => {
    const answer = await send("POST", "/v1/password/forgot", { email: email.value().trim() }, { anonymous: true });
    const told = h("p", { tabindex: "-1" }, sentence(answer?.message ?? "If a user has this e-mail, a link will be sent to it"));
    fill(byId("content"), told, h("p", { class: "soft" }, "The link works once, for one hour. Look into the spam folder too."), back);
    told.focus();
  },
});

fill(byId("content"), form, back);
email.input.focus();
