// @ts-check
/** The part "Second factor" of Account settings. */

import { Problem, get } from "./api.js";
import { persistently } from "./banner.js";
import { fill, h, plural, sentence, status, time } from "./dom.js";
import { onDemand } from "./load.js";
import { menuButton } from "./menu.js";
import { passkeysHere } from "./passkey.js";
import { table } from "./table.js";

/**
 * A second factor. `counts_at`: from then on it meets the policy's needs.
 * @typedef {{id: string, kind: string, name: string, created_at: string, last_used_at: string | null,
 *   counts_at: string}} Factor
 * @typedef {{factors: Factor[], recovery_codes: number, passkeys_available: boolean}} Factors
 * @typedef {{refresh: () => Promise<void>, factors: Factor[]}} FactorContext
 */

/** @type {Record<string, string>} */
const KINDS = { totp: "Authenticator app", passkey: "Passkey" };

/**
 * Return the factors, or null if the sign-in is too old for them: then the reader asks for them.
 * @returns {Promise<Factors | null>}
 */
export async function loadFactors() {
  try {
    return await get("/v1/me/factors", { quiet: true });
  } catch (problem) {
    if (problem instanceof Problem && problem.code === "step_up_required") return null;
    throw problem;
  }
}

/**
 * Return the part with its heading. A reader who was led here to add a factor finds the focus on it.
 * @param {Factors | null} found
 * @returns {HTMLElement}
 */
export function factorCard(found) {
  const heading = h("h2", { id: "second-factor", tabindex: "-1" }, "Second factor");
  const place = h("div", { class: "stack" });
  const context = {
    /** @type {Factor[]} */
    factors: [],
    refresh: async () => draw(await persistently(() => get("/v1/me/factors"))),
  };
  /** @param {Factors | null} now */
  const draw = (now) => {
    context.factors = now?.factors ?? [];
    const focused = place.contains(document.activeElement);
    fill(place, now ? content(now, context) : locked(context));
    if (focused) heading.focus();
  };
  draw(found);
  if (/^\?add=factor(?=&|$)/.test(location.search)) {
    setTimeout(() => {
      heading.scrollIntoView({ block: "center" });
      (place.querySelector("button") ?? heading).focus({ preventScroll: true });
    });
  }
  return h("section", { class: "card", "aria-labelledby": "second-factor" }, heading, place);
}

/** @param {FactorContext} context */
function locked(context) {
  const button = h("button", { type: "button" }, "Show second factors");
  button.addEventListener("click", () => context.refresh().catch(say));
  return h("div", { class: "row between" },
    h("p", { class: "soft" }, "Your last sign-in is a while ago. To see and change your second factors, confirm that it is you."), button);
}

/** @param {unknown} problem */
function say(problem) {
  if (!(problem instanceof Problem)) throw problem;
  status(sentence(problem.detail));
}

/**
 * @param {Factors} found
 * @param {FactorContext} context
 */
function content({ factors, recovery_codes: codes, passkeys_available: available }, context) {
  const passkeys = available && passkeysHere();
  const reason = available ? "This browser cannot use passkeys here."
    : "Passkeys are off: they need a host name, and this console's address is an IP address.";
  return [
    factors.length > 0
      ? h("div", { class: "table-card" }, list(factors, context))
      : h("p", { class: "empty" }, "You have no second factor. With one, your password alone opens nothing."),
    h("div", { class: "row" },
      act("Add authenticator app", "addApp", context),
      passkeys ? act("Add passkey", "addPasskey", context) : null),
    passkeys ? null : h("p", { class: "soft" }, reason),
    factors.length > 0
      ? h("div", { class: "row between" },
        h("p", { class: codes < 3 ? "" : "soft" }, `${plural(codes, "recovery code")} left, for when you have no phone or passkey at hand.`),
        act("New recovery codes", "replaceCodes", context))
      : null,
  ];
}

/**
 * @param {Factor[]} factors
 * @param {FactorContext} context
 */
function list(factors, context) {
  return table("Second factors", [
    {
      title: "Name",
      cell: (one) => h("span", { class: "badges" }, one.name, Date.parse(one.counts_at) > Date.now()
        ? h("span", { class: "badge warn" }, "Counts from ", time(one.counts_at)) : null),
    },
    { title: "Kind", cell: (one) => KINDS[one.kind] ?? one.kind },
    { title: "Added", cell: (one) => time(one.created_at) },
    { title: "Last used", cell: (one) => (one.last_used_at ? time(one.last_used_at, "ago") : "never") },
    {
      title: "Actions", actions: true,
      cell: (one) => menuButton({
        label: h("span", { "aria-hidden": "true" }, "⋯"),
        name: `Actions for ${one.name}`,
        className: "plain icon",
        items: () => [
          { title: "Rename", act: (opener) => void dialogs((loaded) => loaded.rename(one, context, opener)) },
          { title: "Remove", danger: true, act: (opener) => void dialogs((loaded) => loaded.remove(one, context, opener)) },
        ],
      }),
    },
  ], factors);
}

/** @typedef {typeof import("./factor-dialogs.js")} Dialogs */

/**
 * @param {string} title
 * @param {"addApp" | "addPasskey" | "replaceCodes"} name
 * @param {FactorContext} context
 */
function act(title, name, context) {
  const button = h("button", { type: "button" }, title);
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    await dialogs((loaded) => loaded[name](context, button));
    button.removeAttribute("aria-disabled");
  });
  return button;
}

/** @param {(loaded: Dialogs) => Promise<void> | void} open */
async function dialogs(open) {
  try {
    await open(await onDemand(() => import("./factor-dialogs.js")));
  } catch (problem) {
    say(problem);
  }
}
