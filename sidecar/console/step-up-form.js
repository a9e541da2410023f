// @ts-check
/** A proof that it is still the same person: a second factor, or the password of somebody without one. */

import { Problem, get, send } from "./api.js";
import { fill, h, list, time } from "./dom.js";
import { connect } from "./form.js";
import { secondStep } from "./second-step.js";
import { passwordField } from "./text-field.js";
import { roleTitles } from "./titles.js";

/** @returns {Promise<import("./second-step.js").Challenge>} */
export const askForChallenge = () => send("POST", "/v1/session/step-up/options", {});

/**
 * Return the function from a condition's name to its title.
 * @returns {Promise<import("./titles.js").TitleOf>}
 */
export async function conditionTitles() {
  const { conditions = [] } = await get("/v1/me/permissions", { quiet: true });
  return roleTitles(conditions.map((/** @type {{name: string, title: string}} */ one) => ({ id: one.name, title: one.title })));
}

/**
 * Create the form. `done` runs once the session is raised.
 * @param {object} options
 * @param {import("./second-step.js").Challenge} options.challenge
 * @param {() => HTMLElement} options.back button that gives up
 * @param {() => Promise<void> | void} options.done
 * @returns {{element: HTMLElement, focus: () => void}}
 */
export function stepUpForm({ challenge, back, done }) {
  /** @param {Record<string, unknown>} body */
  const answer = async (body) => {
    await send("POST", "/v1/session/step-up", body);
    await done();
  };
  if (challenge.methods.length > 0) return secondStep({ challenge, another: askForChallenge, answer, back });
  return passwordStep({ answer, back, done });
}

/**
 * @param {object} options
 * @param {(body: Record<string, unknown>) => Promise<void>} options.answer
 * @param {() => HTMLElement} options.back
 * @param {() => Promise<void> | void} options.done
 */
function passwordStep({ answer, back, done }) {
  const password = passwordField({ label: "Password", name: "password", autocomplete: "current-password" });
  const form = h("form", { class: "stack" },
    password.element,
    h("p", { class: "actions" }, back(), h("button", { type: "submit", class: "primary" }, "Continue")));
  const element = h("div", null, form);
  connect(form, {
    fields: [password],
    at: { wrong_password: password },
    send: async () => {
      try {
        await answer({ password: password.value() });
      } catch (problem) {
        if (!(problem instanceof Problem) || problem.code !== "second_factor_required") throw problem;
        const step = stepUpForm({ challenge: await askForChallenge(), back, done }); // one was added meanwhile
        fill(element, step.element);
        step.focus();
      }
    },
  });
  return { element, focus: () => password.input.focus() };
}

/**
 * @typedef {{name: string, counts_at: string}} Factor
 */

/**
 * Return why a proof did not suffice: no factor of the kind that is needed, one that does not count yet, or what is
 * still unmet.
 * @param {{unmet?: string[], enrol?: string[]}} problem
 * @returns {Promise<import("./dom.js").Child>}
 */
export async function shortfall({ unmet = [], enrol = [] }) {
  if (enrol.length > 0) return missingFactor(enrol);
  const { factors } = await get("/v1/me/factors", { quiet: true }).catch((problem) => {
    if (problem instanceof Problem) return { factors: [] };
    throw problem;
  });
  const waiting = factors.filter((/** @type {Factor} */ one) => Date.parse(one.counts_at) > Date.now());
  if (factors.length > 0 && waiting.length === factors.length) {
    return ["Your second factor is new: it counts from ", time(waiting[0].counts_at), ". An administrator can confirm it sooner."];
  }
  if (unmet.length === 0) return "That was not enough.";
  return `That was not enough. Needed: ${list(unmet.map(await conditionTitles()))}.`;
}

/** @type {Record<string, string>} */
const KINDS = { totp: "an authenticator app", passkey: "a passkey" };

/** @param {string[]} kinds kinds of second factors, one of which the person has to add */
export function missingFactor(kinds) {
  const names = new Intl.ListFormat("en", { type: "disjunction" }).format(kinds.map((kind) => KINDS[kind] ?? kind));
  return ["This needs a second factor that you do not have yet: ", names, ". ",
    h("a", { href: "/console/account-settings?add=factor", target: "_blank", rel: "noopener" }, "Add it in Account settings"),
    " (opens a new tab), then come back."];
}
