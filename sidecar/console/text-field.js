// @ts-check
/** Fields for a line of text, and for a password with a "Show password" switch. */

import { h, newId } from "./dom.js";
import { labelled, lowered } from "./fields.js";

/** @typedef {import("./fields.js").Field} Field */

/**
 * Create a text field.
 * @param {object} options
 * @param {string} options.label
 * @param {string} options.name
 * @param {"text" | "email" | "password" | "search"} [options.type]
 * @param {string} [options.autocomplete]
 * @param {string} [options.value]
 * @param {import("./dom.js").Child} [options.hint]
 * @param {string | null} [options.missing] error when empty; null: optional. By default "Enter …" with the label
 * @param {number} [options.maxlength]
 * @returns {Field & {input: HTMLInputElement}}
 */
export function textField(options) {
  const { label, name, type = "text", autocomplete = "off", value = "", hint, maxlength } = options;
  const id = newId(name);
  const input = h("input", {
    id, name, type, autocomplete, value, maxlength,
    spellcheck: type === "text" ? null : "false",
    autocapitalize: type === "text" ? null : "none",
    "aria-required": options.missing === null ? null : "true",
  });
  const { element, setError } = labelled(label, input, hint);
  const missing = options.missing === undefined ? (type === "email" ? "Enter an e-mail address." : `Enter ${lowered(label)}.`) : options.missing;
  return {
    element, input, control: input, missing, setError,
    value: () => input.value,
    fault: () => (type === "email" && !input.value.includes("@") ? "Enter a whole e-mail address, like ada@example.com." : ""),
    setBusy: (busy) => {
      input.readOnly = busy;
    },
  };
}

/**
 * Create a password field with a "Show password" switch for it and those in `also`.
 * @param {object} options
 * @param {string} options.label
 * @param {string} options.name
 * @param {"current-password" | "new-password"} options.autocomplete
 * @param {import("./dom.js").Child} [options.hint]
 * @param {string} [options.missing] error when empty
 * @param {string} [options.show] label of the switch; "" leaves it out
 * @param {HTMLInputElement[]} [options.also] further inputs of the same switch
 * @returns {Field & {input: HTMLInputElement}}
 */
export function passwordField({ show = "Show password", also = [], ...options }) {
  const field = textField({ ...options, type: "password" });
  if (show === "") return field;
  const box = h("input", { type: "checkbox", id: newId("show") });
  box.addEventListener("change", () => {
    for (const input of [field.input, ...also]) input.type = box.checked ? "text" : "password";
  });
  field.element.append(h("p", { class: "switch" }, box, h("label", { for: box.id }, show)));
  return field;
}
