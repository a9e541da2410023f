// @ts-check
/** The page Users: seats, members and invitations, and what can be done with them. */

import { get } from "./api.js";
import { persistently } from "./banner.js";
import { ago, fill, focusHeading, h, plural, time } from "./dom.js";
import { lockLine, unlocked } from "./lock-line.js";
import { nameOf } from "./member.js";
import { menuButton } from "./menu.js";
import { start, titled } from "./shell.js";
import { table } from "./table.js";
import { actionsFor } from "./user-actions.js";
import { openInviteDialog } from "./user-invite.js";

/**
 * @typedef {import("./member.js").Member} Member
 * @typedef {import("./member.js").Context} Context
 * @typedef {import("./shell.js").Session} Session
 * @typedef {import("./shell.js").Seats} Seats
 */

/** @returns {Promise<[{users: Member[], seats: Seats}, {roles: import("./role-words.js").Role[]}]>} */
const load = () => Promise.all([get("/v1/users"), get("/v1/roles")]);

start({
  title: "Users",
  needs: { section: "users", action: "view" },
  load,
  draw: (main, session, data) => {
    const heading = main.querySelector("h1");
    const seats = h("div", { class: "row between" });
    const people = h("div", { class: "table-card" });
    const empty = h("p", { class: "empty", hidden: true }, "You are the only member. Invite somebody.");
    fill(main, heading, seats, people, empty);
    /** @type {Context} */
    const context = {
      members: [], roles: [], own: session.me.id,
      titles: new Map(session.permissions.permissions.map((one) => [one.section, one.section_title ?? titled(one.section)])),
      refresh: async () => drawAll(await persistently(load)),
    };
    /** @param {typeof data} found */
    const drawAll = ([roster, { roles }]) => {
      context.members = sorted(roster.users);
      context.roles = roles;
      drawSeats(seats, session, roster.seats, context);
      drawPeople(people, session, context);
      empty.hidden = roster.users.length !== 1;
    };
    drawAll(data);
    addEventListener("unlocked", () => void context.refresh());
  },
});

/**
 * @param {HTMLElement} place
 * @param {Session} session
 * @param {Seats} seats
 * @param {Context} context
 */
function drawSeats(place, session, seats, context) {
  const sum = `${plural(seats.members, "member")} + ${plural(seats.invited, "invitation")} = ${seats.used} of ${plural(seats.cap, "seat")}`;
  const max = Math.max(seats.cap, 1);
  const line = h("div", { class: "row" },
    h("p", { id: "seats" }, sum),
    h("meter", { min: 0, max, high: max - 0.5, optimum: 0, value: seats.used, "aria-labelledby": "seats" })); // full: not green
  if (!session.can("users", "manage")) {
    fill(place, line, lockLine(session, "users", "manage", "Managing users"));
    return;
  }
  const full = seats.available <= 0;
  const known = place.querySelector("#invite");
  const button = known instanceof HTMLButtonElement ? known : inviteButton(session, context);
  const focused = document.activeElement === button;
  button.disabled = full;
  if (full) button.setAttribute("aria-describedby", "full");
  else button.removeAttribute("aria-describedby");
  fill(place, line, button, full ? fullText(seats) : null, lockLine(session, "users", "manage", "Managing users"));
  if (focused && full) focusHeading();
  else if (focused) button.focus();
}

/**
 * @param {Session} session
 * @param {Context} context
 */
function inviteButton(session, context) {
  const button = h("button", { type: "button", id: "invite", class: "primary" }, "Invite user");
  button.addEventListener("click", async () => {
    const locked = session.lock("users", "manage");
    if (!(await unlocked(session, "users", "manage"))) return;
    if (locked) await context.refresh(); // more roles may be assigned after the proof
    openInviteDialog({ opener: button, roles: context.roles, titles: context.titles, changed: () => void context.refresh() });
  });
  return button;
}

/** @param {Seats} seats */
function fullText(seats) {
  const contact = seats.contact ? `please reach us at ${seats.contact}` : "ask your operator for more seats";
  return h("p", { id: "full", class: "note-line" },
    `All ${plural(seats.cap, "seat")} are taken. To add members, ${contact}. Removing a member or revoking an invitation frees a seat.`);
}

/**
 * @param {HTMLElement} place
 * @param {Session} session
 * @param {Context} context
 */
function drawPeople(place, session, context) {
  const titles = new Map(context.roles.map((one) => [one.id, one.title]));
  if (!titles.has(session.me.role)) titles.set(session.me.role, session.role);
  /** @type {import("./table.js").Column<Member>[]} */
  const columns = [
    {
      title: "Name",
      cell: (one) => h("span", { class: "badges" }, one.name || h("span", { class: "soft" }, "No name yet"),
        one.id === session.me.id ? h("span", { class: "badge good" }, "You") : null),
    },
    {
      title: "E-mail",
      cell: (one) => h("span", { class: "stacked" }, one.email,
        one.email_verified === false && one.status !== "invited" ? h("span", { class: "badge warn" }, "E-mail not verified") : null),
    },
    { title: "Role", cell: (one) => titles.get(one.role) ?? titled(one.role) },
    {
      title: "Status",
      cell: (one) => h("span", { class: "stacked" }, statusOf(one, new Date()),
        one.factors === 0 && one.status === "active" ? h("span", { class: "badge" }, "No second factor") : null),
    },
    { title: "Last sign-in", cell: (one) => (one.last_login_at ? time(one.last_login_at, "ago") : "never") },
  ];
  if (session.can("users", "manage")) {
    columns.push({ title: "Actions", actions: true, cell: (one) => rowMenu(one, context) });
  }
  const focused = place.contains(document.activeElement) ? document.activeElement?.getAttribute("aria-label") : null;
  fill(place, table("Users", columns, context.members));
  if (!focused) return;
  const same = [...place.querySelectorAll("button")].find((one) => one.getAttribute("aria-label") === focused);
  if (same) same.focus();
  else focusHeading();
}

/**
 * Return the menu of a row, or nothing for a role that the caller may not assign.
 * @param {Member} member
 * @param {Context} context
 */
function rowMenu(member, context) {
  if (!context.roles.some((one) => one.id === member.role)) return null;
  return menuButton({
    label: h("span", { "aria-hidden": "true" }, "⋯"),
    name: `Actions for ${nameOf(member)}`,
    className: "plain icon",
    items: () => actionsFor(member, context),
  });
}

/**
 * @param {Member} member
 * @param {Date} now
 */
function statusOf(member, now) {
  if (member.review) return h("span", { class: "badge warn" }, "Held for review");
  if (member.status === "suspended") return h("span", { class: "badge bad" }, "Suspended");
  if (member.status !== "invited") return "Active";
  const ends = member.invite_expires_at ? new Date(member.invite_expires_at) : null;
  if (ends && ends <= now) return h("span", { class: "badge warn" }, "Expired");
  return h("span", { class: "badge good" }, ends ? `Invited, expires ${ago(ends, now)}` : "Invited");
}

/**
 * Members by name, then invitations by name.
 * @param {Member[]} members
 */
function sorted(members) {
  /** @param {Member} one */
  const rank = (one) => Number(one.status === "invited");
  return [...members].sort((a, b) => rank(a) - rank(b) || nameOf(a).localeCompare(nameOf(b)));
}
