// @ts-check
/** Forms: labelled fields, errors beside their field, focus at the first error, nothing typed is lost. */

import { Problem } from "./api.js";
import { changeFailed, hideBanner } from "./banner.js";
import { fill, h, newId, sentence } from "./dom.js";

/** As the sidecar demands; it decides, this is what the hint counts to. */
const MIN_PASSWORD = 12;

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
 * Connect a form: check, send, and place what the API refuses.
 *
 * While it sends, the form is `aria-busy` and a second submit is ignored. Refusals with a code of `at` stand beside
 * that field, others on top of the form, outages in the banner. Nothing typed is changed.
 * @param {HTMLFormElement} form
 * @param {object} options
 * @param {Field[]} options.fields
 * @param {() => Promise<void>} options.send
 * @param {() => boolean} [options.check] further checks; calls `setError` itself, returns false if there is an error
 * @param {Record<string, Field>} [options.at] code of a problem → its field
 * @param {(problem: Problem) => boolean} [options.refused] places a problem itself, then returns true
 * @param {(problem: Problem) => import("./dom.js").Child} [options.explain] what to add to the API's words
 */
export function connect(form, { fields, send, check, at = {}, refused, explain }) {
  const problemPlace = h("div", { class: "form-error", role: "alert", hidden: true, tabindex: "-1" });
  form.prepend(problemPlace);
  form.noValidate = true;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.getAttribute("aria-busy") === "true") return;
    clearErrors(form);
    for (const one of fields) one.setError(one.value() === "" ? one.missing : one.fault?.());
    const checked = check ? check() : true;
    if (focusFirstError(fields) || !checked) return;
    hideBanner();
    busy(form, fields, true);
    try {
      await send();
    } catch (problem) {
      busy(form, fields, false);
      if (!(problem instanceof Problem)) {
        changeFailed(new Problem(0, "unreachable", ""), () => form.requestSubmit());
        throw problem;
      }
      if (refused?.(problem)) focusFirstError(fields);
      else if (problem.outage && !at[problem.code]) changeFailed(problem, () => form.requestSubmit());
      else place(problem, problemPlace, { ...named(problem, fields), ...at }, explain?.(problem));
    } finally {
      busy(form, fields, false);
    }
  });
}

/**
 * Place a refusal: beside the field of its code, or on top of the form.
 * @param {Problem} problem
 * @param {HTMLElement} top
 * @param {Record<string, Field>} at
 * @param {import("./dom.js").Child} more
 */
function place(problem, top, at, more) {
  const field = at[problem.code];
  if (field) {
    field.setError([words(problem), more ? [" ", more] : null]);
    focusOn(field);
  } else {
    fill(top, words(problem), more ? [" ", more] : null);
    top.hidden = false;
    top.focus();
  }
}

/**
 * Return the field that a `bad_request` names: "… - at `$.name`".
 * @param {Problem} problem
 * @param {Field[]} fields
 * @returns {Record<string, Field>}
 */
function named(problem, fields) {
  const path = / - at `\$\.(\w+)`$/.exec(problem.detail);
  const found = path && fields.find((one) => one.control.getAttribute("name") === path[1]);
  return found ? { bad_request: found } : {};
}

/**
 * Return the API's words: each advice for a weak password, when to try again, else the detail.
 * @param {Problem} problem
 * @returns {import("./dom.js").Child}
 */
export function words(problem) {
  const weaknesses = problem.body?.weaknesses;
  if (problem.code === "weak_password" && Array.isArray(weaknesses) && weaknesses.length > 0) {
    const advice = weaknesses.map((/** @type {{advice: string}} */ one) => sentence(String(one.advice)));
    return advice.length === 1 ? advice : h("ul", null, advice.map((one) => h("li", null, one)));
  }
  if (problem.code === "rate_limited" && problem.retryAfter !== null) {
    return `Too many attempts. Try again in ${wait(problem.retryAfter)}.`;
  }
  return sentence(problem.detail.replace(/ - at `\$[^`]*`$/, "").replace(/^email\b/, "e-mail"));
}

/** @param {number} seconds */
function wait(seconds) {
  if (seconds < 120) return seconds === 1 ? "1 second" : `${seconds} seconds`;
  return `${Math.ceil(seconds / 60)} minutes`;
}

/**
 * Give the focus to a field, with its error in sight.
 * @param {Field} field
 */
function focusOn(field) {
  field.control.focus();
  field.element.querySelector(".error")?.scrollIntoView({ block: "nearest" });
}

/**
 * Give the focus to the first field with an error. Returns false if no field has one.
 * @param {Field[]} fields
 */
function focusFirstError(fields) {
  const first = fields.find((one) => one.element.querySelector('[aria-invalid="true"], .error:not([hidden])'));
  if (first) focusOn(first);
  return first !== undefined;
}

/** @param {HTMLFormElement} form */
function clearErrors(form) {
  for (const one of form.querySelectorAll(":scope > .form-error")) {
    if (one instanceof HTMLElement) one.hidden = true;
  }
}

/**
 * @param {HTMLFormElement} form
 * @param {Field[]} fields
 * @param {boolean} on
 */
function busy(form, fields, on) {
  form.toggleAttribute("aria-busy", on);
  if (on) form.setAttribute("aria-busy", "true");
  for (const one of fields) one.setBusy(on);
  for (const button of form.querySelectorAll("button[type=submit]")) {
    if (on) button.setAttribute("aria-disabled", "true");
    else button.removeAttribute("aria-disabled");
  }
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

/** @param {string} label */
function lowered(label) {
  const article = /^your\b/i.test(label) ? "" : /^[aeio]/i.test(label) ? "an " : "a ";
  return article + label.charAt(0).toLowerCase() + label.slice(1);
}
