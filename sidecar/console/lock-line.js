// @ts-check
/** A line that says what a locked action needs. */

import { Problem, prove } from "./api.js";
import { h, sentence, status } from "./dom.js";
import { needed } from "./shell.js";

/**
 * Return true if an action is open, if need be after a proof that is asked for now.
 * @param {import("./shell.js").Session} session
 * @param {string} section
 * @param {string} action
 * @returns {Promise<boolean>}
 */
export async function unlocked(session, section, action) {
  const cell = session.lock(section, action);
  if (!cell) return true;
  try {
    return await prove(cell);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    status(sentence(problem.detail));
    return false;
  }
}

/**
 * Return a line that says what a locked action needs, with a button that asks for it; nothing for an open one.
 * @param {import("./shell.js").Session} session
 * @param {string} section
 * @param {string} action
 * @param {string} words for example "Managing users"
 */
export function lockLine(session, section, action, words) {
  const cell = session.lock(section, action);
  if (!cell) return null;
  const button = h("button", { type: "button", onclick: () => void unlocked(session, section, action) }, "Unlock");
  return h("div", { class: "note-line row between" }, h("p", null, `${words} needs: ${needed(cell)}.`),
    cell.reason === "step_up_required" ? button : null);
}
