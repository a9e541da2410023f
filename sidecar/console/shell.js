// @ts-check
/** The frame of the pages for signed-in people: header, navigation, own menu, outages, no access. */

import { Problem, get, send } from "./api.js";
import { persistently, showNonsense } from "./banner.js";
import { byId, fill, h, list, sentence, status } from "./dom.js";
import { menuButton } from "./menu.js";

/**
 * @typedef {{id: string, email: string, name: string, role: string, status: string, account: string,
 *   role_title?: string, email_verified?: boolean}} Me
 * @typedef {{section: string, section_title?: string, action: string, action_title?: string, decision: boolean}} Cell
 * @typedef {{cap: number, used: number, members: number, invited: number, available: number,
 *   contact: string | null}} Seats
 * @typedef {{id: string, name: string, seats: Seats}} Account
 * @typedef {{role: string, role_title?: string, generation: string, permissions: Cell[]}} Permissions
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
   * Return true if the role allows an action. For showing controls; the server decides each call by itself.
   * @param {string} section
   * @param {string} action
   */
  can(section, action) {
    return allows(this.permissions, section, action);
  }

  /** Return the allowed sections, each with its allowed actions in words. */
  opens() {
    return sections(this.permissions.permissions.filter((one) => one.decision));
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
 * @returns {{section: string, title: string, actions: {action: string, title: string}[]}[]}
 */
export function sections(cells) {
  /** @type {Map<string, {section: string, title: string, actions: {action: string, title: string}[]}>} */
  const found = new Map();
  for (const cell of cells) {
    const one = found.get(cell.section) ?? {
      section: cell.section, title: cell.section_title ?? titled(cell.section), actions: [],
    };
    one.actions.push({ action: cell.action, title: cell.action_title ?? titled(cell.action) });
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
  return permissions.some((one) => one.section === section && one.action === action && one.decision);
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
  const session = new Session(me, permissions, account);
  drawHeader(session);
  document.title = `${title} · ${session.account.name}`;
  if (needs && !session.can(needs.section, needs.action)) {
    noAccess(main, session, title);
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
 * @param {HTMLElement} main
 * @param {Session} session
 * @param {string} title
 */
function noAccess(main, session, title) {
  const open = [...PAGES.filter((page) => session.can(page.section, page.action)), { path: ACCOUNT_SETTINGS, title: "Account settings" }];
  main.removeAttribute("aria-busy");
  fill(main,
    h("h1", null, `Your role (${session.role}) does not open this page`),
    h("p", null, `An Account Administrator of ${session.account.name} can give you a role that opens “${title}”.`),
    h("p", null, `Here it opens ${list(open.map((page) => page.title))}.`),
    h("p", { class: "row" }, open.map((page) => h("a", { class: "button", href: page.path }, `Open ${page.title}`))));
}

/** @param {Session} session */
export function drawHeader(session) {
  const here = location.pathname.replace(/\/$/, "");
  const links = PAGES.filter((page) => session.can(page.section, page.action)).map((page) =>
    h("li", null, h("a", { href: page.path, "aria-current": page.path === here ? "page" : null }, page.title)));
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
