// @ts-check
/** The page Audit: every change of the account as a sentence, newest first. */

import { Problem, get } from "./api.js";
import { AuditList } from "./audit-list.js";
import { merged } from "./audit-policy.js";
import { persistently } from "./banner.js";
import { h, plural, sentence as asSentence, status } from "./dom.js";
import { FilterForm } from "./filter-form.js";
import { apiPath, read, write } from "./filters.js";
import { onDemand } from "./load.js";
import { start } from "./shell.js";
import { inWords, roleTitles } from "./titles.js";

/**
 * @typedef {import("./filters.js").Filters} Filters
 * @typedef {import("./sentences.js").Row} Row
 * @typedef {import("./audit-policy.js").PolicyChange} PolicyChange
 * @typedef {{entries: Row[], policy_changes?: PolicyChange[], next: number | null, verified_up_to?: number | null}} Page
 * @typedef {{id: string, title: string}} Role
 * @typedef {{id: string, name: string, email: string}} User
 */

const FIRST = 100;
const MORE = 250;
/** Responses that one search reads before it pauses. */
const MOST_READS = 20;

/** @returns {Promise<{page: Page, roles: Role[]}>} */
async function load() {
  const [page, roles] = await Promise.all([
    rows(read(location.search), FIRST, null),
    optional("/v1/roles"),
  ]);
  return { page, roles: roles?.roles ?? [] };
}

/**
 * Return what the role may read, null for a role that may not.
 * @param {string} path
 */
async function optional(path) {
  try {
    return await get(path);
  } catch (problem) {
    if (problem instanceof Problem && (problem.status === 403 || problem.status === 404)) return null;
    throw problem;
  }
}

/**
 * Return up to `limit` rows. A filtered response of the API can be empty and continue, so several are read.
 * @param {Filters} filters
 * @param {number} limit
 * @param {number | null} after
 * @returns {Promise<Page>}
 */
async function rows(filters, limit, after) {
  /** @type {Page & {policy_changes: PolicyChange[]}} */
  const found = { entries: [], policy_changes: [], next: after };
  for (let reads = 0; reads < MOST_READS; reads += 1) {
    const page = await get(apiPath(filters, { limit: limit - found.entries.length, after: found.next }));
    found.entries.push(...page.entries);
    found.policy_changes.push(...(page.policy_changes ?? []));
    found.next = page.next;
    found.verified_up_to = page.verified_up_to;
    if (page.next === null || found.entries.length >= limit) break;
  }
  return found;
}

/** The rows that are shown, with their filters. */
class View {
  /**
   * @param {{page: Page, roles: Role[]}} data
   * @param {Map<string, string | undefined>} sections title per section id
   */
  constructor({ page, roles }, sections) {
    this.role = roleTitles(roles);
    /** @type {import("./titles.js").TitleOf} */
    this.section = (id) => sections.get(id) ?? inWords(id);
    /** @type {Filters} */
    this.filters = read(location.search);
    /** @type {Map<string, string>} */
    this.people = new Map();
    this.form = new FilterForm(this.people, (filters) => void this.filter(filters));
    this.list = new AuditList(this.role, this.section);
    this.verified = h("p", { class: "soft" });
    this.meaning = h("p", { class: "soft small" },
      "Rows up to here are covered by a signed checkpoint of the exported audit.");
    this.empty = h("p", { class: "empty", hidden: true });
    this.older = h("button", { type: "button", onclick: () => void this.more() }, "Show older rows");
    /** @type {number | null} */
    this.next = null;
    this.shown = 0;
    this.turn = 0;
    this.take(page);
  }

  elements() {
    return [
      h("div", { class: "row between" },
        h("div", null, this.verified, this.meaning),
        h("div", { class: "row" },
          h("button", { type: "button", onclick: (event) => void this.export("json", event) }, "Export JSON"),
          h("button", { type: "button", onclick: (event) => void this.export("csv", event) }, "Export CSV"))),
      this.form.element,
      this.list.element,
      this.empty,
      h("p", { class: "more" }, this.older),
    ];
  }

  /** @param {Page} page */
  take(page) {
    for (const row of page.entries) this.note(row);
    this.form.show(this.filters);
    const all = merged(page.entries, page.policy_changes ?? []);
    this.list.append(all);
    this.shown += all.length;
    this.next = page.next;
    this.older.hidden = page.next === null;
    this.empty.hidden = this.shown > 0;
    this.empty.textContent = this.none();
    const verified = page.verified_up_to ?? 0;
    this.verified.textContent = verified > 0 ? `Verified up to row ${verified}` : "No row is verified yet";
    this.meaning.hidden = verified === 0;
    this.verified.className = verified > 0 ? "verified" : "soft";
  }

  /**
   * Add the people of the account to the filters, under their present names.
   * @param {User[]} users
   */
  add(users) {
    for (const one of users) this.people.set(one.id, one.name || one.email);
    this.form.offer();
  }

  /**
   * Keep the names of people that the list of users does not hold.
   * @param {Row} row
   */
  note(row) {
    const actor = row.actor_name || row.actor_email;
    const target = row.target_name || row.target_email;
    if (row.actor && actor && !this.people.has(row.actor)) this.people.set(row.actor, actor);
    if (row.target && target && !this.people.has(row.target)) this.people.set(row.target, target);
  }

  /** Return what an empty list says. */
  none() {
    if (this.next !== null) return "No row matches so far. Older rows have not been searched yet.";
    if (!this.form.ordered()) return "“From” is after “To”, so no row can match.";
    return write(this.filters) ? "No row matches these filters." : "Nothing has been changed yet.";
  }

  /** @param {Filters} filters */
  async filter(filters) {
    if (write(filters) !== write(this.filters)) history.pushState(null, "", location.pathname + write(filters));
    await this.reload(filters);
  }

  /** @param {Filters} filters */
  async reload(filters) {
    const turn = ++this.turn;
    const page = await this.page(filters, FIRST, null);
    if (page === null || turn !== this.turn) return;
    this.filters = filters;
    this.list.clear();
    this.shown = 0;
    this.take(page);
    status(this.count());
  }

  async more() {
    if (this.older.getAttribute("aria-disabled") === "true") return;
    const turn = this.turn;
    this.older.setAttribute("aria-disabled", "true");
    const page = await this.page(this.filters, MORE, this.next);
    this.older.removeAttribute("aria-disabled");
    if (page === null || turn !== this.turn) return;
    this.take(page);
    status(this.count());
  }

  count() {
    return `${plural(this.shown, "row")} shown${this.next === null ? "" : ", older ones follow"}`;
  }

  /**
   * @param {Filters} filters
   * @param {number} limit
   * @param {number | null} after
   * @returns {Promise<Page | null>} null: the API refused the filters and said why
   */
  async page(filters, limit, after) {
    try {
      return await persistently(() => rows(filters, limit, after));
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      status(asSentence(problem.detail));
      return null;
    }
  }

  /**
   * @param {"json" | "csv"} form
   * @param {Event} event
   */
  async export(form, event) {
    const button = /** @type {HTMLElement} */ (event.currentTarget);
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    try {
      const { asCsv, everyRow, save } = await onDemand(() => import("./audit-export.js"));
      const found = await everyRow(this.filters, (count) => status(`${plural(count, "row")} read`));
      const name = `audit-${new Date().toISOString().slice(0, 10)}.${form}`;
      if (form === "csv") save(name, "text/csv", asCsv(found, this.role, this.section));
      else save(name, "application/json", JSON.stringify({ filters: this.filters, ...found }, null, 2));
      status(`${plural(found.entries.length + found.policy_changes.length, "row")} exported as ${name}`);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      status(`Nothing was exported. ${asSentence(problem.detail)}`);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  }
}

start({
  title: "Audit",
  needs: { section: "audit", action: "view" },
  load,
  draw: (main, session, data) => {
    const titles = session.permissions.permissions.map((one) => /** @type {const} */ ([one.section, one.section_title]));
    const view = new View(data, new Map(titles));
    if (session.can("users", "view")) {
      void persistently(() => get("/v1/users")).then(({ users }) => view.add(users));
    }
    main.append(...view.elements());
    addEventListener("popstate", () => void view.reload(read(location.search)));
  },
});
