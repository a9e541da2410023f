// @ts-check
/** The frame of the pages for signed-in people: header, navigation, own menu, outages, no access. */

import { Problem, get, send } from "./api.js";
import { persistently, showNonsense } from "./banner.js";
import { byId, fill, h, list, sentence, status } from "./dom.js";
import { onDemand } from "./load.js";
import { menuButton } from "./menu.js";

/**
 * @typedef {{id: string, email: string, name: string, role: string, status: string, account: string,
 *   role_title?: string, email_verified?: boolean}} Me
 * @typedef {{section: string, section_title?: string, action: string, action_title?: string, decision: boolean,
 *   reason?: string, unmet?: string[], enrol?: string[]}} Cell
 * @typedef {{section: string, title: string, actions: {action: string, title: string, needs: string}[]}} Opened
 * @typedef {{cap: number, used: number, members: number, invited: number, available: number,
 *   contact: string | null}} Seats
 * @typedef {{id: string, name: string, seats: Seats}} Account
 * @typedef {{role: string, role_title?: string, generation: string, permissions: Cell[],
 *   conditions?: {name: string, title: string}[]}} Permissions
 */

/** The signed-in person, with what the role allows. */
export class Session {
  /**
   * @param {Me} me
   * @param {Permissions} permissions
   * @param {Account} account
   */
  constructor(me, permissions, account) {
    this.me = me;
    this.permissions = permissions;
    this.account = account;
  }

  /** Name of the person, or the e-mail of one without a name. */
  get name() {
    return this.me.name || this.me.email;
  }

  /** Title of the role. */
  get role() {
    return this.permissions.role_title ?? this.me.role_title ?? this.me.role;
  }

  /**
   * Return true if the role allows an action, perhaps after a proof that a dialog asks for. For showing controls; the
   * server decides each call by itself.
   * @param {string} section
   * @param {string} action
   */
  can(section, action) {
    return allows(this.permissions, section, action);
  }

  /**
   * Return the cell of an action that the role allows and that a need of the policy denies now, or undefined.
   * @param {string} section
   * @param {string} action
   */
  lock(section, action) {
    return this.permissions.permissions.find((one) => one.section === section && one.action === action && one.unmet);
  }

  /** Return the sections that the role allows, each with its actions in words. */
  opens() {
    return sections(this.permissions.permissions.filter((one) => one.decision || one.unmet));
  }
}

/**
 * Pages of the navigation, in its order, each with the permission that it needs.
 * @type {{path: string, title: string, section: string, action: string}[]}
 */
export const PAGES = [
  { path: "/console/users", title: "Users", section: "users", action: "view" },
  { path: "/console/policy", title: "Policy", section: "policy", action: "view" },
  { path: "/console/audit", title: "Audit", section: "audit", action: "view" },
];

export const ACCOUNT_SETTINGS = "/console/account-settings";

/**
 * Group cells by section: titles of the section and of its actions, in the policy's order.
 * @param {Cell[]} cells
 * @returns {Opened[]}
 */
export function sections(cells) {
  /** @type {Map<string, Opened>} */
  const found = new Map();
  for (const cell of cells) {
    const one = found.get(cell.section) ?? {
      section: cell.section, title: cell.section_title ?? titled(cell.section), actions: [],
    };
    one.actions.push({ action: cell.action, title: cell.action_title ?? titled(cell.action), needs: needed(cell) });
    found.set(cell.section, one);
  }
  return [...found.values()];
}

/**
 * Return an id as a title: "media-library" → "Media library".
 * @param {string} id
 */
export function titled(id) {
  const text = id.replaceAll("-", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/**
 * Return the path of the first page that the permissions open: Account settings are open to everybody.
 * @param {Permissions} permissions
 */
export function firstPage(permissions) {
  const [users] = PAGES;
  return allows(permissions, users.section, users.action) ? users.path : ACCOUNT_SETTINGS;
}

/**
 * @param {Permissions} permissions
 * @param {string} section
 * @param {string} action
 */
function allows({ permissions }, section, action) {
  return permissions.some((one) =>
    one.section === section && one.action === action && (one.decision || one.reason === "step_up_required"));
}

/**
 * Return what a locked cell needs, in words; "" for an open one.
 * @param {{unmet?: string[]}} cell
 */
export function needed({ unmet = [] }) {
  return list(unmet.map((name) => conditions.get(name) ?? titled(name)));
}

/** Titles of conditions by name. @type {Map<string, string>} */
const conditions = new Map();

/**
 * Keep the titles of conditions, return the permissions.
 * @param {Permissions} found
 */
function noted(found) {
  for (const { name, title } of found.conditions ?? []) conditions.set(name, title);
  return found;
}

/**
 * Return the mark of a locked cell, or nothing.
 * @param {Cell | undefined} cell
 */
export function lockMark(cell) {
  if (!cell) return null;
  const text = `needs ${needed(cell)}`;
  return h("span", { class: "lock", title: text }, h("span", { class: "visually-hidden" }, ` (${text})`));
}

/**
 * Start a page: its data and the frame's are requested at once, the frame is drawn, then the page.
 *
 * While the store is out, reads are repeated under the banner. A role without the permission gets a page that says so.
 * @template T
 * @param {object} page
 * @param {string} page.title the h1
 * @param {{section: string, action: string}} [page.needs] none: open to everybody who is signed in
 * @param {() => Promise<T>} page.load the page's own data
 * @param {(main: HTMLElement, session: Session, data: T) => void} page.draw fills `main`, after the h1
 */
export async function start(page) {
  try {
    await run(page);
  } catch (fault) {
    showNonsense();
    throw fault;
  }
}

/**
 * @template T
 * @param {{title: string, needs?: {section: string, action: string}, load: () => Promise<T>,
 *   draw: (main: HTMLElement, session: Session, data: T) => void}} page
 */
async function run({ title, needs, load, draw }) {
  const main = byId("main");
  const own = persistently(load).then(
    (data) => ({ data, problem: null }),
    (/** @type {unknown} */ problem) => ({ data: null, problem }),
  );
  const [me, permissions, account] = await persistently(() =>
    Promise.all([get("/v1/me"), get("/v1/me/permissions"), get("/v1/account")]));
  const session = new Session(me, noted(permissions), account);
  drawHeader(session);
  addEventListener("stepped-up", () => void refresh(session));
  document.title = `${title} · ${session.account.name}`;
  if (needs && !session.can(needs.section, needs.action)) {
    const locked = session.lock(needs.section, needs.action);
    const view = await onDemand(() => import("./no-access.js"));
    main.removeAttribute("aria-busy");
    if (locked) view.closedNow(main, session, title, locked);
    else view.noAccess(main, session, title);
    return;
  }
  const { data, problem } = await own;
  main.removeAttribute("aria-busy");
  if (problem && !(problem instanceof Problem)) throw problem;
  fill(main, h("h1", null, title));
  if (problem instanceof Problem) {
    main.append(h("p", { class: "form-error", role: "alert" }, sentence(problem.detail)));
    return;
  }
  draw(main, session, /** @type {T} */ (data));
}

/**
 * Read the permissions again after a step-up, and draw what depends on them.
 * @param {Session} session
 */
async function refresh(session) {
  session.permissions = noted(await persistently(() => get("/v1/me/permissions")));
  drawHeader(session);
  dispatchEvent(new Event("unlocked"));
}

/** @param {Session} session */
export function drawHeader(session) {
  const here = location.pathname.replace(/\/$/, "");
  const links = PAGES.flatMap((page) => {
    const locked = session.lock(page.section, page.action);
    if (!locked && !session.can(page.section, page.action)) return [];
    const attributes = { href: page.path, "aria-current": page.path === here ? "page" : null };
    return [h("li", null, h("a", attributes, page.title, lockMark(locked)))];
  });
  const initial = [...session.name][0]?.toUpperCase() ?? "";
  const own = menuButton({
    label: [h("span", { class: "avatar", "aria-hidden": "true" }, initial), h("span", { class: "who" }, session.name)],
    name: session.name,
    className: "own-menu",
    items: () => [{ title: "Account settings", href: ACCOUNT_SETTINGS }, { title: "Sign out", act: signOut }],
  });
  fill(byId("header"),
    h("p", { class: "account-name" }, session.account.name),
    h("nav", { "aria-label": "Pages" }, h("ul", null, links)),
    own);
}

/** Sign out, then show the sign-in page. */
export async function signOut() {
  try {
    await send("DELETE", "/v1/session", undefined, { anonymous: true });
    location.assign("/console/sign-in");
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    status(`You are still signed in: ${problem.detail}.`);
  }
}
