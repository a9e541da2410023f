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
  return {
    ...labelled(label, select), select, control: select, missing,
    value: () => select.value,
    setBusy: (busy) => select.setAttribute("aria-disabled", String(busy)),
  };
}

/**
 * Return label, hint, control and error together, for a control that has an id.
 * @param {string} label
 * @param {HTMLElement} control
 * @param {import("./dom.js").Child} [hint]
 */
export function labelled(label, control, hint = null) {
  const parts = described(control, control.id, hint);
  const element = h("div", { class: "field" }, h("label", { for: control.id }, label), parts.hint, control, parts.error);
  return { element, setError: parts.setError };
}

/**
 * Return hint and error of a control, with the attributes that connect them.
 * @param {HTMLElement} control
 * @param {string} id
 * @param {import("./dom.js").Child} text
 */
export function described(control, id, text) {
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

/**
 * Return a label for the middle of a sentence: "E-mail" → "an e-mail".
 * @param {string} label
 */
export function lowered(label) {
  const article = /^your\b/i.test(label) ? "" : /^[aeio]/i.test(label) ? "an " : "a ";
  return article + label.charAt(0).toLowerCase() + label.slice(1);
}
