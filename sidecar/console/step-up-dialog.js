// @ts-check
/** The dialog that opens when a call needs a proof that it is still the same person. */

import { openDialog } from "./dialog.js";
import { h, list } from "./dom.js";
import { askForChallenge, conditionTitles, missingFactor, shortfall, stepUpForm } from "./step-up-form.js";

/** @type {Promise<boolean> | null} */
let asking = null;

/** @typedef {{unmet?: string[], enrol?: string[], max_age?: number}} Asked */

/**
 * Ask for a proof, once for all calls that need one. Return false if it was declined. Throws Problem.
 * @param {Asked} asked
 * @param {boolean} again an earlier proof was not enough
 * @returns {Promise<boolean>}
 */
export function stepUp(asked, again) {
  asking ??= ask(asked, again).finally(() => {
    asking = null;
  });
  return asking;
}

/**
 * @param {Asked} asked
 * @param {boolean} again
 * @returns {Promise<boolean>}
 */
async function ask(asked, again) {
  const { enrol = [] } = asked;
  const [challenge, title, more] = await Promise.all([
    askForChallenge(), conditionTitles(), again ? shortfall(asked) : null,
  ]);
  let raised = false;
  const cancel = () => h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const finish = () => {
    raised = true;
    dialog.close();
  };
  const without = enrol.length > 0;
  const step = without
    ? { element: missing(enrol, cancel, finish), focus: () => undefined }
    : stepUpForm({ challenge, back: cancel, done: finish });
  const dialog = openDialog({
    title: without ? "A second factor is needed" : "Confirm that it is you",
    body: [more && !without ? h("p", { class: "note-line" }, more) : null, without ? null : h("p", null, reason(asked, title)), step.element],
  });
  step.focus();
  await dialog.closed;
  if (raised) dispatchEvent(new Event("stepped-up"));
  return raised;
}

/**
 * @param {string[]} kinds
 * @param {() => HTMLElement} cancel
 * @param {() => void} retry
 */
function missing(kinds, cancel, retry) {
  return h("div", { class: "stack" }, h("p", null, missingFactor(kinds)),
    h("p", { class: "actions" }, cancel(), h("button", { type: "button", class: "primary", onclick: retry }, "Try again")));
}

/**
 * Return what is asked for: the names of the policy's conditions, else the age of the last proof.
 * @param {Asked} asked
 * @param {import("./titles.js").TitleOf} title
 */
function reason({ unmet = [], max_age: age }, title) {
  if (unmet.length > 0) return `This needs: ${list(unmet.map(title))}.`;
  return `This needs a proof of your sign-in from the last ${Math.round((age ?? 900) / 60)} minutes.`;
}
