// @ts-check
/** The page to which a gateway leads a signed-in person whose sign-in has to be proven again. */

import { Problem, get, whoAmI } from "./api.js";
import { persistently } from "./banner.js";
import { byId, fill, focusHeading, h, sentence } from "./dom.js";
import { destination, rdOf, stepUpOf } from "./rd.js";
import { askForChallenge, missingFactor, shortfall, stepUpForm } from "./step-up-form.js";

/**
 * @typedef {{reason?: string, unmet?: string[], enrol?: string[]}} Cell
 */

const content = byId("content");
const wanted = stepUpOf(location.search);
const next = destination(location.search, location.origin) ?? "/console/";
const cancel = () => h("a", { class: "button", href: "/console/" }, "Cancel");

/**
 * Return a cell that still lacks the condition for which the gateway led here, or undefined.
 * @returns {Promise<Cell | undefined>}
 */
async function lacking() {
  if (!wanted) return undefined;
  const { permissions } = await persistently(() => get("/v1/me/permissions"));
  return permissions.find((/** @type {Cell} */ one) => one.unmet?.includes(wanted));
}

/** Go on, unless the proof did not suffice: then say why, so that the way does not lead in circles. */
async function goOn() {
  const cell = await lacking();
  if (!cell) {
    location.replace(next);
    return;
  }
  const another = h("button", { type: "button", class: "primary", onclick: () => void attempt(draw) }, "Try another way");
  fill(content, h("p", { class: "note-line" }, await shortfall({ ...cell, unmet: [wanted] })),
    h("p", { class: "actions" }, h("a", { class: "button", href: next }, "Go on all the same"), another));
  focusHeading();
}

async function draw() {
  const me = await persistently(whoAmI);
  if (!me) {
    const rd = rdOf(location.search);
    location.replace(`/console/sign-in${rd === null ? "" : `?rd=${encodeURIComponent(rd)}`}`);
    return;
  }
  const [challenge, cell] = await Promise.all([persistently(askForChallenge), lacking()]);
  byId("main").removeAttribute("aria-busy");
  const who = h("p", { class: "soft" }, "Signed in as ", h("b", null, me.email));
  if (cell?.enrol?.length) {
    fill(content, h("p", null, missingFactor(cell.enrol)), who,
      h("p", { class: "actions" }, cancel(), h("button", { type: "button", class: "primary", onclick: () => void attempt(goOn) }, "Try again")));
    focusHeading();
    return;
  }
  const step = stepUpForm({ challenge, back: cancel, done: goOn });
  fill(content, h("p", null, "The page that you opened needs a fresh proof of your sign-in."), who, step.element);
  step.focus();
}

/**
 * Run a step of the page. A refusal takes the page's place.
 * @param {() => Promise<void>} step
 */
async function attempt(step) {
  try {
    await step();
  } catch (problem) {
    byId("main").removeAttribute("aria-busy");
    fill(content, h("p", { class: "form-error", role: "alert" },
      problem instanceof Problem ? sentence(problem.detail) : "This page failed. Load it again."));
    if (!(problem instanceof Problem)) throw problem;
  }
}

void attempt(draw);
