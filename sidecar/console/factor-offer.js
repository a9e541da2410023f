// @ts-check
/** The offer to add a second factor, once after signing in, when the role needs one. */

import { Problem, get } from "./api.js";
import { fill, h } from "./dom.js";
import { headed } from "./heading.js";

/** Return true if the person has no second factor and the role needs one. Unknown is no: signing in goes on. */
export async function wantsFactor() {
  try {
    const { permissions } = await get("/v1/me/permissions", { anonymous: true });
    return Array.isArray(permissions) && permissions.some((one) => (one.enrol ?? []).length > 0);
  } catch (problem) {
    if (problem instanceof Problem) return false;
    throw problem;
  }
}

/**
 * @param {HTMLElement} place
 * @param {() => void} later goes on without a factor
 * @param {string | null} destination address to go to afterwards
 */
export function drawOffer(place, later, destination = null) {
  const rd = destination ? `&rd=${encodeURIComponent(destination.slice(location.origin.length))}` : "";
  const add = h("a", { class: "button primary", href: `/console/account-settings?add=factor${rd}` }, "Add a second factor");
  headed("Add a second factor");
  fill(place,
    h("p", null, "Your role asks for a second factor in places: an authenticator app or a passkey. You have none yet."),
    h("p", { class: "soft" }, "Without one you can go on, and those places stay closed."),
    h("p", { class: "actions" }, h("button", { type: "button", onclick: later }, "Later"), add));
  add.focus();
}
