// @ts-check
/** The second step: a code of the authenticator app, a passkey or a recovery code answers a challenge. */

import { Problem } from "./api.js";
import { fill, h } from "./dom.js";
import { connect } from "./form.js";
import { passkeysHere, signature } from "./passkey.js";
import { textField } from "./text-field.js";

/**
 * A challenge of the API. `passkey`: request options, null without a passkey.
 * @typedef {{challenge: string, methods: string[], passkey: any}} Challenge
 * @typedef {import("./fields.js").Field & {input: HTMLInputElement}} TextField
 * @typedef {{title: string, button: string, hint: string, field: TextField | null}} Way
 */

/** A challenge takes five attempts within five minutes. */
const MOST_TRIES = 4;
const MOST_AGE = 4 * 60_000;

/**
 * Create the forms of the second step, one at a time. What was typed stays when another one is chosen.
 * @param {object} options
 * @param {Challenge} options.challenge
 * @param {() => Promise<Challenge>} options.another further challenge, when the first is used up
 * @param {(body: Record<string, unknown>) => Promise<void>} options.answer sends an answer; the step is over
 * @param {() => HTMLElement} options.back button that gives up
 * @returns {{element: HTMLElement, focus: () => void}}
 */
export function secondStep({ challenge, another, answer, back }) {
  const element = h("div", { class: "stack" });
  let [current, since, tries] = [challenge, performance.now(), 0];
  const ways = waysOf(challenge.methods);

  /** @param {string} method */
  const send = async (method) => {
    if (tries >= MOST_TRIES || performance.now() - since > MOST_AGE) {
      [current, since, tries] = [await another(), performance.now(), 0];
    }
    const field = ways.get(method)?.field;
    const proof = field ? { [method === "totp" ? "code" : "recovery_code"]: field.value().trim() }
      : { credential: await signature(current.passkey) };
    tries += 1;
    await answer({ challenge: current.challenge, ...proof });
  };

  /** @param {string} method */
  const show = (method) => {
    const way = ways.get(method);
    if (!way) return;
    const others = [...ways].filter(([name]) => name !== method).map(([name, other]) =>
      h("button", { type: "button", class: "plain", onclick: () => (show(name), focus()) }, `${other.title} instead`));
    const form = h("form", { class: "stack" },
      h("p", { class: "soft" }, way.hint),
      way.field?.element,
      others.length > 0 ? h("div", { class: "stacked" }, others) : null,
      h("p", { class: "actions" }, back(), h("button", { type: "submit", class: "primary" }, way.button)));
    connect(form, {
      fields: way.field ? [way.field] : [],
      refused: (problem) => refused(problem, way.field),
      send: () => send(method),
    });
    fill(element, form);
  };

  const focus = () => {
    const first = element.querySelector("input, button[type=submit]");
    if (first instanceof HTMLElement) first.focus();
  };

  const [first] = ways.keys();
  if (first) show(first);
  else fill(element, h("p", null, "None of your second factors can be used in this browser. Use another one, or ask an administrator to reset them."), h("p", { class: "actions" }, back()));
  return { element, focus };
}

/**
 * Return the ways to answer, the quickest first.
 * @param {string[]} methods
 * @returns {Map<string, Way>}
 */
function waysOf(methods) {
  /** @type {Map<string, Way>} */
  const found = new Map();
  if (methods.includes("passkey") && passkeysHere()) {
    found.set("passkey", {
      title: "Use your passkey", button: "Use your passkey", field: null,
      hint: "Confirm with the passkey of this device or of a security key.",
    });
  }
  if (methods.includes("totp")) {
    const field = textField({ label: "Code", name: "code", autocomplete: "one-time-code", missing: "Enter the code.", maxlength: 12 });
    field.input.inputMode = "numeric";
    found.set("totp", {
      title: "Use your authenticator app", button: "Continue", field, hint: "Enter the six digits that your authenticator app shows now.",
    });
  }
  if (methods.includes("recovery-code")) {
    const field = textField({ label: "Recovery code", name: "recovery_code", missing: "Enter a recovery code.", maxlength: 64 });
    found.set("recovery-code", {
      title: "Use a recovery code", button: "Continue", field, hint: "Enter one of your recovery codes. Each works once.",
    });
  }
  return found;
}

/**
 * Place a wrong answer beside its field.
 * @param {Problem} problem
 * @param {TextField | null} field
 */
function refused(problem, field) {
  if (problem.code !== "wrong_code" || !field) return false;
  field.setError(field.input.name === "code"
    ? "This code is wrong, too old or used already. Enter the one that the app shows now."
    : "This recovery code is wrong or used already.");
  field.input.select();
  return true;
}
