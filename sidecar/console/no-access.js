// @ts-check
/** A page that the role does not open, or that a need of the policy closes now. */

import { fill, h, list } from "./dom.js";
import { ACCOUNT_SETTINGS, PAGES, needed } from "./shell.js";

/** @typedef {import("./shell.js").Session} Session */

/**
 * @param {HTMLElement} main
 * @param {Session} session
 * @param {string} title
 * @param {import("./shell.js").Cell} cell
 */
export function closedNow(main, session, title, cell) {
  fill(main, h("h1", null, `“${title}” is closed now`),
    h("p", null, `Your role (${session.role}) opens this page only with: ${needed(cell)}.`),
    h("p", { class: "row" }, h("button", { type: "button", onclick: () => location.reload() }, "Try again")));
}

/**
 * @param {HTMLElement} main
 * @param {Session} session
 * @param {string} title
 */
export function noAccess(main, session, title) {
  const open = [...PAGES.filter((page) => session.can(page.section, page.action)), { path: ACCOUNT_SETTINGS, title: "Account settings" }];
  fill(main,
    h("h1", null, `Your role (${session.role}) does not open this page`),
    h("p", null, `An Account Administrator of ${session.account.name} can give you a role that opens “${title}”.`),
    h("p", null, `Here it opens ${list(open.map((page) => page.title))}.`),
    h("p", { class: "row" }, open.map((page) => h("a", { class: "button", href: page.path }, `Open ${page.title}`))));
}
