// @ts-check
/** The fields of a new password. */

import { h } from "./dom.js";
import { passwordField } from "./text-field.js";

/** As the sidecar demands; it decides, this is what the hint counts to. */
const MIN_PASSWORD = 12;

/**
 * Create the fields of a new password that is typed twice; the hint counts its characters.
 * @param {string} label
 * @param {string} repeated label of the second field
 * @param {string} [name] name of the first field
 */
export function newPasswordFields(label, repeated, name = "password") {
  const length = h("span", null, `At least ${MIN_PASSWORD} characters. Four or five unrelated words are easy to remember.`);
  const again = passwordField({
    label: repeated, name: `confirm_${name}`, autocomplete: "new-password", show: "", missing: "Repeat the password.",
  });
  const first = passwordField({ label, name, autocomplete: "new-password", hint: length, also: [again.input] });
  const advice = length.textContent;
  first.input.addEventListener("input", () => {
    const count = [...first.value()].length;
    length.textContent = count === 0 ? advice
      : count < MIN_PASSWORD ? `${count} of at least ${MIN_PASSWORD} characters.`
      : `${count} characters: long enough.`;
  });
  first.fault = () => ([...first.value()].length < MIN_PASSWORD ? `Use at least ${MIN_PASSWORD} characters.` : "");
  const same = () => {
    if (again.value() === "" || first.value() === again.value()) return true;
    again.setError("The two passwords differ. Type the same one twice.");
    return false;
  };
  return { first, again, same };
}
