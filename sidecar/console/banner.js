// @ts-check
/** The banner of an outage, and reads that are repeated until they succeed. */

import { Problem, get } from "./api.js";
import { byId, fill, h, sentence } from "./dom.js";

const FIRST_DELAY = 2_000;
const LAST_DELAY = 30_000;
const GROWTH = 1.5;

/** Ends of the pauses that run now. @type {Set<() => void>} */
const pauses = new Set();

/**
 * Return what the banner says of an outage.
 * @param {Problem} problem
 * @param {boolean} changing the call that failed was a change
 */
export function outageText(problem, changing) {
  if (problem.code === "store_unavailable") return "The sidecar cannot reach its store. Nothing was changed.";
  if (problem.code !== "unreachable") return `${sentence(problem.detail)} Nothing was changed.`;
  if (!changing) return "The sidecar cannot be reached. Nothing was changed.";
  return "The sidecar cannot be reached. Look whether the change was made before you repeat it.";
}

/** Show the banner for a response that makes no sense: the only way on is to load the page again. */
export function showNonsense() {
  showBanner(outageText(new Problem(0, "unreachable", ""), false), () => location.reload());
}

/**
 * Repeat a read until it succeeds, with growing delays; show the banner meanwhile.
 *
 * Throws a Problem that is no outage: repeating the call would not help.
 * @template T
 * @param {() => Promise<T>} read
 * @returns {Promise<T>}
 */
export async function persistently(read) {
  for (let delay = FIRST_DELAY; ; delay = Math.min(delay * GROWTH, LAST_DELAY)) {
    try {
      const found = await read();
      hideBanner();
      return found;
    } catch (problem) {
      if (!(problem instanceof Problem) || !problem.outage) throw problem;
      showBanner(outageText(problem, false), retryNow);
      await pause(Math.max(delay, (problem.retryAfter ?? 0) * 1000));
    }
  }
}

/**
 * Show the banner for a change that failed by an outage.
 *
 * The change is not repeated by itself: that is for the reader to decide. The banner goes when the store is back. If
 * the outcome is unknown, it stays until the next attempt.
 * @param {Problem} problem
 * @param {() => void} repeat sends the change again
 */
export function changeFailed(problem, repeat) {
  const shown = showBanner(outageText(problem, true), repeat);
  if (problem.code !== "unreachable") void watch(shown);
}

/**
 * Hide the banner when the store is back. Only somebody who is signed in can tell.
 * @param {Element} shown
 */
async function watch(shown) {
  for (let delay = FIRST_DELAY; ; delay = Math.min(delay * GROWTH, LAST_DELAY)) {
    await pause(delay);
    if (!shown.isConnected) return;
    try {
      await get("/v1/account", { anonymous: true });
      if (shown.isConnected) hideBanner();
      return;
    } catch (problem) {
      if (!(problem instanceof Problem) || !problem.outage) return;
    }
  }
}

/**
 * @param {string} text
 * @param {() => void} retry
 * @returns {Element} what is shown now; another banner replaces it
 */
function showBanner(text, retry) {
  const banner = byId("banner");
  const dialogs = document.querySelectorAll("dialog[open]");
  const place = dialogs[dialogs.length - 1]?.querySelector("[data-banner]") ?? document.querySelector("[data-banner]");
  if (place && banner.parentElement !== place) place.append(banner);
  const reading = retry === retryNow;
  const shown = banner.firstElementChild;
  if (reading && shown?.textContent === text && !banner.hidden) return shown; // said once
  const words = h("p", null, text);
  fill(banner, words, h("button", { type: "button", onclick: retry }, "Try again"));
  banner.hidden = false;
  return words;
}

/** Hide the banner, if it is shown. Called as well when a dialog with the banner closes. */
export function hideBanner() {
  const banner = byId("banner");
  banner.hidden = true;
  fill(banner);
  document.querySelector("[data-banner]")?.append(banner);
}

function retryNow() {
  for (const end of [...pauses]) end();
}

/**
 * Wait, at most until "Try again" is pressed or the browser is online again.
 * @param {number} milliseconds
 * @returns {Promise<void>}
 */
function pause(milliseconds) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      pauses.delete(end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    pauses.add(end);
  });
}

addEventListener("online", retryNow);
