// @ts-check
/** A group of radio buttons with descriptions. */

import { h, newId } from "./dom.js";
import { described, lowered } from "./fields.js";

/** @typedef {import("./fields.js").Field} Field */

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
