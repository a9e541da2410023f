// @ts-check
/** The page Account settings: name, role, password, second factors, sessions. */

import { browserOf } from "./agent.js";
import { Problem, get, send } from "./api.js";
import { changeFailed, hideBanner, persistently } from "./banner.js";
import { confirmDialog } from "./dialog.js";
import { fill, h, lowerFirst, plural, sentence, status, time } from "./dom.js";
import { factorCard, loadFactors } from "./factor-card.js";
import { connect } from "./form.js";
import { openPasswordDialog } from "./password-dialog.js";
import { drawHeader, signOut, start } from "./shell.js";
import { table } from "./table.js";
import { textField } from "./text-field.js";

/**
 * @typedef {{id: string, current: boolean, created_at: string, refreshed_at: string, expires_at: string,
 *   address: string | null, agent: string | null}} LiveSession
 * @typedef {import("./shell.js").Session} Session
 */

const loadSessions = () => get("/v1/me/sessions");

start({
  title: "Account settings",
  load: () => Promise.all([loadSessions(), loadFactors()]),
  draw: (main, session, [data, factors]) => {
    const sessions = h("section", { class: "card", "aria-labelledby": "sessions" });
    const refresh = async () => drawSessions(sessions, (await persistently(loadSessions)).sessions, refresh);
    main.append(profile(session), password(session, refresh), factorCard(factors), sessions);
    drawSessions(sessions, data.sessions, refresh);
  },
});

/** @param {Session} session */
function profile(session) {
  const { me } = session;
  const name = textField({ label: "Name", name: "name", autocomplete: "name", value: me.name, maxlength: 100 });
  const form = h("form", { class: "inline-form" }, name.element, h("button", { type: "submit" }, "Save name"));
  connect(form, {
    fields: [name],
    send: async () => {
      const changed = await send("PATCH", "/v1/me", { name: name.value() });
      me.name = changed.name;
      name.input.value = changed.name;
      drawHeader(session);
      status("Your name has been changed.");
    },
  });
  const opens = session.opens().map((one) =>
    h("li", null, h("b", null, one.title), `: ${one.actions.map((action) =>
      lowerFirst(action.title) + (action.needs ? ` (needs ${action.needs})` : "")).join(", ")}`));
  return h("section", { class: "card", "aria-labelledby": "profile" },
    h("h2", { id: "profile" }, "Profile"),
    form,
    h("dl", { class: "facts" },
      h("dt", null, "E-mail"),
      h("dd", null, me.email, " ", me.email_verified === false ? h("span", { class: "badge warn" }, "E-mail not verified") : null),
      h("dt", null, "Account"), h("dd", null, session.account.name),
      h("dt", null, "Role"), h("dd", null, session.role),
      h("dt", null, "Opens"), h("dd", null, h("ul", { class: "plain-list" }, opens))));
}

/**
 * @param {Session} session
 * @param {() => void} changed
 */
function password(session, changed) {
  const button = h("button", { type: "button", class: "primary" }, "Change password");
  button.addEventListener("click", () => openPasswordDialog(button, session.me.email, changed));
  return h("section", { class: "card", "aria-labelledby": "password" },
    h("h2", { id: "password" }, "Password"),
    h("div", { class: "row between" },
      h("p", { class: "soft" }, "A new password signs out all your other browsers and programs."), button));
}

/**
 * @param {HTMLElement} place
 * @param {LiveSession[]} sessions
 * @param {() => Promise<void>} refresh
 */
function drawSessions(place, sessions, refresh) {
  const others = sessions.filter((one) => !one.current);
  const all = h("button", { type: "button", disabled: others.length === 0 }, "Sign out all other sessions");
  all.addEventListener("click", () => endOthers(all, others.length, refresh));
  const heading = h("h2", { id: "sessions", tabindex: "-1" }, "Sessions");
  fill(place, h("div", { class: "row between" }, heading, all),
    h("div", { class: "table-card" }, table("Sessions", [
      {
        title: "Browser",
        cell: (one) => h("span", { class: "badges", title: one.agent }, browserOf(one.agent),
          one.current ? h("span", { class: "badge good" }, "This session") : null),
      },
      { title: "Address", cell: (one) => one.address || "unknown" },
      { title: "Signed in", cell: (one) => time(one.created_at) },
      { title: "Last active", cell: (one) => (one.current ? "now" : time(one.refreshed_at, "ago")) },
      { title: "Sign out", actions: true, cell: (one) => endButton(one, heading, refresh) },
    ], sessions)));
}

/**
 * @param {LiveSession} session
 * @param {HTMLElement} heading
 * @param {() => Promise<void>} refresh
 */
function endButton(session, heading, refresh) {
  const browser = browserOf(session.agent);
  const button = h("button", { type: "button", class: "plain" },
    "Sign out", h("span", { class: "visually-hidden" }, session.current ? " this session" : ` ${browser}`));
  button.addEventListener("click", async () => {
    if (session.current) return signOut();
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    hideBanner();
    try {
      await send("DELETE", `/v1/me/sessions/${encodeURIComponent(session.id)}`);
      status(`${browser} was signed out.`);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      button.removeAttribute("aria-disabled");
      if (problem.outage) return changeFailed(problem, () => button.click());
      status(problem.code === "not_found" ? "That session has ended already." : sentence(problem.detail));
    }
    await refresh();
    heading.ownerDocument.getElementById(heading.id)?.focus();
  });
  return button;
}

/**
 * @param {HTMLButtonElement} opener
 * @param {number} count
 * @param {() => Promise<void>} refresh
 */
function endOthers(opener, count, refresh) {
  const dialog = confirmDialog({
    title: "Sign out all other sessions",
    opener,
    body: h("p", null, `${plural(count, "other session")} will have to sign in again. This browser stays signed in.`),
    act: async () => {
      await send("DELETE", "/v1/me/sessions");
      await refresh();
      dialog.close();
      document.getElementById("sessions")?.focus();
      status(`${plural(count, "other session was", "other sessions were")} signed out.`);
    },
  });
}
