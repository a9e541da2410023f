// @ts-check
/** The sign-in page. */

import { Problem, send } from "./api.js";
import { byId, fill, h } from "./dom.js";
import { connect, passwordField, selectField, textField } from "./form.js";
import { destination, doneOf } from "./rd.js";

const email = textField({ label: "E-mail", name: "username", type: "email", autocomplete: "username" });
const password = passwordField({ label: "Password", name: "password", autocomplete: "current-password" });
const place = h("div");

/** @type {(import("./form.js").Field) | null} */
let account = null;

const form = h("form", { class: "stack" },
  email.element,
  password.element,
  place,
  h("p", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Sign in")));

/** @type {import("./form.js").Field[]} */
const fields = [email, password];

connect(form, {
  fields,
  at: { invalid_credentials: password },
  refused: (problem) => (problem.code === "account_required" ? choose(problem) : false),
  send: async () => {
    const chosen = account?.value() ?? "";
    const body = { username: email.value().trim(), password: password.value(), ...(chosen ? { account: chosen } : {}) };
    await send("POST", "/v1/session", body, { anonymous: true });
    location.assign(destination(location.search, location.origin) ?? "/console/");
  },
});

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

fill(byId("content"), done ? h("p", { class: "notice" }, done) : null, form, h("p", null, h("a", { href: "/console/forgot" }, "Forgot your password?")));
email.input.focus();
