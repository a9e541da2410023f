// @ts-check
/** Forms: errors beside their field, focus at the first error, nothing typed is lost. */

import { Problem } from "./api.js";
import { changeFailed, hideBanner } from "./banner.js";
import { fill, h, sentence } from "./dom.js";

/** @typedef {import("./fields.js").Field} Field */

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
