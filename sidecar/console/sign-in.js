// @ts-check
/** The sign-in page. */

import { Problem, send } from "./api.js";
import { byId, fill, h } from "./dom.js";
import { drawOffer, wantsFactor } from "./factor-offer.js";
import { selectField } from "./fields.js";
import { connect } from "./form.js";
import { headed } from "./heading.js";
import { passkeysHere, signature } from "./passkey.js";
import { destination, doneOf, stepUpOf } from "./rd.js";
import { secondStep } from "./second-step.js";
import { passwordField, textField } from "./text-field.js";

const email = textField({ label: "E-mail", name: "username", type: "email", autocomplete: "username" });
const password = passwordField({ label: "Password", name: "password", autocomplete: "current-password" });
const place = h("div");

/** @type {(import("./fields.js").Field) | null} */
let account = null;

const form = h("form", { class: "stack" },
  email.element,
  password.element,
  place,
  h("p", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Sign in")));

/** @type {import("./fields.js").Field[]} */
const fields = [email, password];

connect(form, {
  fields,
  at: { invalid_credentials: password },
  refused: (problem) => (problem.code === "account_required" ? choose(problem) : false),
  send: async () => {
    const challenge = await firstStep();
    if (challenge) askForSecond(challenge);
    else await enter();
  },
});

/**
 * Send what was typed. Return null if that opened a session, else the challenge of the second step.
 * @returns {Promise<import("./second-step.js").Challenge | null>}
 */
async function firstStep() {
  const chosen = account?.value() ?? "";
  const body = { username: email.value().trim(), password: password.value(), ...(chosen ? { account: chosen } : {}) };
  try {
    await send("POST", "/v1/session", body, { anonymous: true });
    return null;
  } catch (problem) {
    if (problem instanceof Problem && problem.code === "second_factor_required") return problem.body;
    throw problem;
  }
}

/** @param {import("./second-step.js").Challenge} challenge */
function askForSecond(challenge) {
  const step = secondStep({
    challenge,
    another: async () => {
      const found = await firstStep();
      if (found) return found;
      leave(); // the last factor was removed meanwhile: the password alone has opened a session
      return new Promise(() => undefined);
    },
    answer: async (body) => {
      await send("POST", "/v1/session/factor", body, { anonymous: true });
      leave();
    },
    back: () => h("button", { type: "button", onclick: drawFirst }, "Back"),
  });
  headed("Second step");
  fill(content, h("p", null, "Signing in as ", h("b", null, email.value().trim())), step.element);
  step.focus();
}

/** Go on after a sign-in by password alone: first to the offer of a second factor, if the role asks for one. */
async function enter() {
  if (await wantsFactor()) drawOffer(content, leave, destination(location.search, location.origin));
  else leave();
}

function leave() {
  location.assign(destination(location.search, location.origin) ?? "/console/");
}

/** Return the form of a sign-in by a passkey alone. */
function passkeyForm() {
  const own = h("form", null, h("p", { class: "actions" }, h("button", { type: "submit" }, "Use a passkey")));
  connect(own, {
    fields: [],
    send: async () => {
      const { challenge, passkey } = await send("POST", "/v1/session/passkey/options", {}, { anonymous: true });
      const credential = await signature(passkey);
      await send("POST", "/v1/session/passkey", { challenge, credential }, { anonymous: true });
      leave();
    },
    explain: (problem) => (problem.code === "wrong_code" ? "It may have been removed from your user." : ""),
  });
  return own;
}

/**
 * Ask for the account: a list of those whose password was right, or a text field when there is no list.
 * @param {Problem} problem
 */
function choose(problem) {
  const accounts = problem.body.accounts;
  if (account) fields.splice(fields.indexOf(account), 1);
  if (Array.isArray(accounts) && accounts.length > 0) {
    const choices = accounts.map((/** @type {{id: string, name: string}} */ one) => ({ value: one.id, title: one.name }));
    account = selectField({
      label: "Account", name: "account", missing: "Choose an account.",
      choices: [{ value: "", title: "Choose an account" }, ...choices],
    });
    account.setError("This e-mail belongs to several accounts. Choose one.");
  } else {
    account = textField({ label: "Account", name: "account", autocomplete: "organization" });
    account.setError("This e-mail belongs to several accounts. Enter the name of one.");
  }
  fields.push(account);
  fill(place, account.element);
  return true;
}

/** Texts for those that another page of the console sends here. */
const DONE = new Map([
  ["reset", "Your password has been changed. Sign in with the new one."],
  ["joined", "You have joined. Sign in with your new password."],
  ["ended", "Your session ended. Sign in again."],
]);
const done = DONE.get(doneOf(location.search));
const content = byId("content");
const first = [
  done ? h("p", { class: "notice" }, done) : null, form, passkeysHere() ? passkeyForm() : null,
  h("p", null, h("a", { href: "/console/forgot" }, "Forgot your password?")),
];

/** Show the form of e-mail and password, with what was typed. */
function drawFirst() {
  headed("Sign in");
  fill(content, first);
  email.input.focus();
}

if (stepUpOf(location.search)) location.replace(`/console/step-up${location.search}`);
else drawFirst();
