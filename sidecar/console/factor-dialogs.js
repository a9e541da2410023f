// @ts-check
/** Dialogs of the own second factors: add, rename, remove, recovery codes. */

import { send } from "./api.js";
import { confirmDialog, openDialog } from "./dialog.js";
import { h, status } from "./dom.js";
import { connect } from "./form.js";
import { newPasskey } from "./passkey.js";
import { copyButton, showCodes } from "./recovery-codes.js";
import { textField } from "./text-field.js";

/**
 * @typedef {import("./factor-card.js").Factor} Factor
 * @typedef {import("./factor-card.js").FactorContext} FactorContext
 * @typedef {import("./dialog.js").OpenDialog} OpenDialog
 */

/** @param {string} value */
function nameField(value = "") {
  return textField({
    label: "Name", name: "name", value, missing: value ? "Enter a name." : null, maxlength: 100,
    hint: "For your list, for example “Phone” or “Work laptop”.",
  });
}

/** @param {import("./api.js").Problem} problem */
function late(problem) {
  return problem.code === "not_found" ? "Ten minutes have passed: cancel, and begin again." : "";
}

/**
 * Add an authenticator app: its key is shown once, and a code of the app confirms it.
 * @param {FactorContext} context
 * @param {HTMLElement} opener
 */
export async function addApp(context, opener) {
  const added = await send("POST", "/v1/me/factors/totp");
  const key = String(added.secret).match(/.{1,4}/g)?.join(" ") ?? "";
  const name = nameField();
  const code = textField({ label: "Code", name: "code", autocomplete: "one-time-code", missing: "Enter the code that the app shows.", maxlength: 12 });
  code.input.inputMode = "numeric";
  const cancel = h("button", { type: "button" }, "Cancel");
  const form = h("form", null,
    h("p", null, "Scan this with your authenticator app, or type the key into it:"),
    h("div", { class: "key" },
      h("img", { class: "qr", alt: "QR code of the key", src: `data:image/svg+xml,${encodeURIComponent(added.qr)}` }),
      h("div", { class: "stack" },
        h("p", null, h("span", { class: "soft small" }, "Key"), h("code", { id: "key" }, key)),
        h("p", null, copyButton("Copy key", added.secret, "The key has been copied.")))),
    h("p", null, "Then enter the code that the app shows:"),
    code.element, name.element,
    h("p", { class: "actions" }, cancel, h("button", { type: "submit", class: "primary" }, "Add")));
  const dialog = openDialog({ title: "Add authenticator app", body: form, opener, focus: code.input });
  cancel.addEventListener("click", dialog.close);
  connect(form, {
    fields: [code, name],
    refused: (problem) => {
      if (problem.code !== "wrong_code") return false;
      code.setError("This code is wrong or too old. Enter the one that the app shows now.");
      code.input.select();
      return true;
    },
    explain: late,
    send: async () => {
      const body = { code: code.value().trim(), name: name.value().trim() };
      await confirmed(dialog, context, await send("POST", `/v1/me/factors/${added.id}/confirm`, body));
    },
  });
}

/**
 * Add a passkey: the browser makes it, and its first signature confirms it.
 * @param {FactorContext} context
 * @param {HTMLElement} opener
 */
export function addPasskey(context, opener) {
  /** @type {{id: string, options: unknown} | null} */
  let added = null;
  const name = nameField();
  const cancel = h("button", { type: "button" }, "Cancel");
  const form = h("form", null,
    h("p", null, "Your browser asks where to keep the passkey: this device, a phone or a security key. It signs you in without a password."),
    name.element,
    h("p", { class: "actions" }, cancel, h("button", { type: "submit", class: "primary" }, "Create passkey")));
  const dialog = openDialog({ title: "Add passkey", body: form, opener });
  cancel.addEventListener("click", dialog.close);
  connect(form, {
    fields: [name],
    explain: late,
    send: async () => {
      added ??= await send("POST", "/v1/me/factors/passkey");
      if (!added) return;
      const { id, options } = added;
      const credential = await newPasskey(options);
      added = null; // its challenge is used up
      await confirmed(dialog, context, await send("POST", `/v1/me/factors/${id}/confirm`, { credential, name: name.value().trim() }));
    },
  });
}

/**
 * Finish the dialog: with the recovery codes of a first factor, else closed.
 * @param {OpenDialog} dialog
 * @param {FactorContext} context
 * @param {{factor: Factor, recovery_codes: string[]}} found
 */
async function confirmed(dialog, context, { factor, recovery_codes: codes }) {
  const words = `${factor.name} has been added.`;
  if (codes.length > 0) showCodes(dialog, codes, words);
  await context.refresh();
  if (codes.length > 0) return;
  dialog.close();
  await dialog.closed;
  status(words);
}

/**
 * @param {Factor} factor
 * @param {FactorContext} context
 * @param {HTMLElement} opener
 */
export function rename(factor, context, opener) {
  const name = nameField(factor.name);
  const cancel = h("button", { type: "button" }, "Cancel");
  const form = h("form", null, name.element,
    h("p", { class: "actions" }, cancel, h("button", { type: "submit", class: "primary" }, "Rename")));
  const dialog = openDialog({ title: `Rename ${factor.name}`, body: form, opener, focus: name.input });
  name.input.select();
  cancel.addEventListener("click", dialog.close);
  connect(form, {
    fields: [name],
    send: async () => {
      await send("PATCH", `/v1/me/factors/${factor.id}`, { name: name.value().trim() });
      await context.refresh();
      dialog.close();
      await dialog.closed;
      status(`${factor.name} is now ${name.value().trim()}.`);
    },
  });
}

/**
 * @param {Factor} factor
 * @param {FactorContext} context
 * @param {HTMLElement} opener
 */
export function remove(factor, context, opener) {
  const last = context.factors.length === 1;
  const dialog = confirmDialog({
    title: `Remove ${factor.name}`, opener,
    body: h("p", null, last
      ? "It is your last second factor: your recovery codes stop working as well, and your password alone signs you in."
      : "It does not sign you in any more, in no browser."),
    act: async () => {
      await send("DELETE", `/v1/me/factors/${factor.id}`);
      await context.refresh();
      dialog.close();
      await dialog.closed;
      status(`${factor.name} was removed.`);
    },
  });
}

/**
 * @param {FactorContext} context
 * @param {HTMLElement} opener
 */
export function replaceCodes(context, opener) {
  const dialog = confirmDialog({
    title: "New recovery codes", verb: "Make new codes", opener, danger: false,
    body: h("p", null, "You get ten new codes. The old ones stop working at once."),
    act: async () => {
      const { recovery_codes: codes } = await send("POST", "/v1/me/recovery-codes");
      showCodes(dialog, codes, "The old codes have stopped working.");
      await context.refresh();
    },
  });
}
