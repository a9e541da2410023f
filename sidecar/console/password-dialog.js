// @ts-check
/** The dialog "Change password". */

import { get, send } from "./api.js";
import { openDialog } from "./dialog.js";
import { h, plural, status } from "./dom.js";
import { connect } from "./form.js";
import { newPasswordFields } from "./new-password.js";
import { passwordField } from "./text-field.js";

/**
 * Open the dialog. This browser stays signed in, all other sessions end.
 * @param {HTMLElement} opener
 * @param {string} email for password managers
 * @param {() => void} changed called after a change
 */
export function openPasswordDialog(opener, email, changed) {
  const old = passwordField({
    label: "Old password", name: "old_password", autocomplete: "current-password", show: "",
    missing: "Enter your old password.",
  });
  const { first, again, same } = newPasswordFields("New password", "Repeat new password", "new_password");
  const box = first.element.querySelector("input[type=checkbox]");
  box?.addEventListener("change", () => {
    old.input.type = first.input.type;
  });
  const cancel = h("button", { type: "button" }, "Cancel");
  const form = h("form", null,
    h("input", { type: "text", name: "username", autocomplete: "username", value: email, readonly: true, hidden: true }),
    old.element, first.element, again.element,
    h("p", { class: "actions" }, cancel, h("button", { type: "submit", class: "primary" }, "Submit")));
  const dialog = openDialog({ title: "Change password", body: form, opener, focus: old.input });
  cancel.addEventListener("click", dialog.close);
  connect(form, {
    fields: [old, first, again],
    check: same,
    at: { wrong_password: old, weak_password: first, same_password: first, password_mismatch: again },
    send: async () => {
      const { sessions } = await get("/v1/me/sessions");
      await send("POST", "/v1/me/password", {
        old_password: old.value(), new_password: first.value(), confirm_password: again.value(),
      });
      dialog.close();
      const others = sessions.filter((/** @type {{current: boolean}} */ one) => !one.current).length;
      const ended = plural(others, "other session was", "other sessions were");
      status(`Your password has been changed. ${ended} signed out.`);
      changed();
    },
  });
}
