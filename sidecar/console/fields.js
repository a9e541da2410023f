// @ts-check
/** Labelled fields of forms, with hint and error beside the control. */

import { fill, h, newId } from "./dom.js";

/**
 * A labelled control. `setError` shows text or nodes beside it; "" clears it.
 * @typedef {object} Field
 * @property {HTMLElement} element label, hint, control and error together
 * @property {HTMLElement} control gets the focus on an error
 * @property {() => string} value
 * @property {(error: import("./dom.js").Child) => void} setError
 * @property {string | null} missing error of an empty field; null: may be empty
 * @property {() => string} [fault] error of what was typed, or ""
 * @property {(busy: boolean) => void} setBusy
 */

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
  const parts = described(input, id, hint);
  const element = h("div", { class: "field" }, h("label", { for: id }, label), parts.hint, input, parts.error);
  const missing = options.missing === undefined ? (type === "email" ? "Enter an e-mail address." : `Enter ${lowered(label)}.`) : options.missing;
  return {
    element, input, control: input, missing, setError: parts.setError,
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

/**
 * Create a group of radio buttons, each with a description. None is chosen beforehand.
 * @param {object} options
 * @param {string} options.legend
 * @param {string} options.name
 * @param {{value: string, title: string, description?: import("./dom.js").Child}[]} options.choices
 * @param {string} [options.chosen]
 * @param {string} [options.missing]
 * @param {(value: string) => void} [options.onchange]
 * @returns {Field}
 */
export function radioField({ legend, name, choices, chosen = "", missing, onchange }) {
  const group = h("div", { class: "choices" });
  const inputs = choices.map((choice) => {
    const id = newId(name);
    const described = choice.description ? `${id}-text` : null;
    const input = h("input", {
      type: "radio", id, name, value: choice.value, checked: choice.value === chosen, "aria-describedby": described,
    });
    if (onchange) input.addEventListener("change", () => onchange(choice.value));
    group.append(
      h("div", { class: "choice" },
        input,
        h("label", { for: id }, choice.title),
        choice.description ? h("p", { id: described }, choice.description) : null),
    );
    return input;
  });
  const fieldset = h("fieldset", { class: "field", role: "radiogroup" }, h("legend", null, legend));
  const parts = described(fieldset, newId(name), null);
  fieldset.append(parts.error, group);
  return {
    element: fieldset,
    get control() {
      return inputs.find((input) => input.checked) ?? inputs[0] ?? fieldset;
    },
    missing: missing ?? `Choose ${lowered(legend)}.`,
    setError: parts.setError,
    value: () => inputs.find((input) => input.checked)?.value ?? "",
    setBusy: (busy) => {
      for (const input of inputs) input.setAttribute("aria-disabled", String(busy));
    },
  };
}

/**
 * Create a drop-down list.
 * @param {object} options
 * @param {string} options.label
 * @param {string} options.name
 * @param {{value: string, title: string}[]} options.choices
 * @param {string} [options.chosen]
 * @param {string | null} [options.missing]
 * @returns {Field & {select: HTMLSelectElement}}
 */
export function selectField({ label, name, choices, chosen = "", missing = null }) {
  const id = newId(name);
  const select = h("select", { id, name }, choices.map((one) => h("option", { value: one.value }, one.title)));
  select.value = chosen;
  const parts = described(select, id, null);
  return {
    element: h("div", { class: "field" }, h("label", { for: id }, label), select, parts.error),
    select, control: select, missing, setError: parts.setError,
    value: () => select.value,
    setBusy: (busy) => select.setAttribute("aria-disabled", String(busy)),
  };
}

/**
 * Return hint and error of a control, with the attributes that connect them.
 * @param {HTMLElement} control
 * @param {string} id
 * @param {import("./dom.js").Child} text
 */
function described(control, id, text) {
  const hint = text ? h("div", { id: `${id}-hint`, class: "hint" }, text) : null;
  const error = h("div", { id: `${id}-error`, class: "error", hidden: true });
  const before = control.getAttribute("aria-describedby");
  /** @param {boolean} shown */
  const describe = (shown) => {
    const list = [before, hint ? hint.id : null, shown ? error.id : null].filter(Boolean).join(" ");
    if (list) control.setAttribute("aria-describedby", list);
    else control.removeAttribute("aria-describedby");
  };
  describe(false);
  /** @param {import("./dom.js").Child} shown */
  const setError = (shown) => {
    const on = Boolean(shown);
    fill(error, shown);
    error.hidden = !on;
    if (on) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
    describe(on);
  };
  return { hint, error, setError };
}

/** @param {string} label */
function lowered(label) {
  const article = /^your\b/i.test(label) ? "" : /^[aeio]/i.test(label) ? "an " : "a ";
  return article + label.charAt(0).toLowerCase() + label.slice(1);
}
