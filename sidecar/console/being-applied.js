// @ts-check
/** The section "Being applied" of the page Policy: a candidate, read again until its application has ended. */

import { Problem, get } from "./api.js";
import { persistently } from "./banner.js";
import { fill, h, list, plural, sentence, time } from "./dom.js";
import { table } from "./table.js";

/**
 * `users`: ids, at most 20.
 * @typedef {{role: string, section: string, action: string, from: "allow" | "deny", to: "allow" | "deny",
 *   times: number, users: string[]}} Change
 * @typedef {{candidate: string | null, ready: number, sidecars: number, until: string | null,
 *   changes: Change[]}} Shadow
 * @typedef {{id: string, name: string, email: string}} User
 * @typedef {import("./titles.js").Titles} Titles
 */

const INTERVAL = 3_000;
const MAX_USERS = 20;
const SHOWN_NAMES = 5;

/**
 * Return the section, which reads its progress again every few seconds while the page is visible.
 * @param {Shadow} shadow with a candidate
 * @param {Titles} titles
 * @param {Promise<User[]> | null} people of the account, if the role may read them
 */
export function beingApplied(shadow, titles, people) {
  const line = h("p", { role: "status" });
  const facts = h("dl", { class: "facts" });
  const changes = h("div");
  const element = h("section", { class: "card", "aria-labelledby": "applying" },
    h("h2", { id: "applying" }, "Being applied"), line, facts, changes);
  /** @type {Map<string, string>} */
  const names = new Map();
  let latest = shadow;
  /** @param {Shadow} found */
  const show = (found) => {
    latest = found;
    renew(line, summary(found));
    renew(facts, factsOf(found));
    changes.hidden = !found.changes.length;
    if (found.changes.length) draw(changes, table("Decisions that would change", columns(titles, names), found.changes));
  };
  /** @param {import("./dom.js").Child} words */
  const end = (words) => {
    element.replaceChildren(line); // the same element, so that screen readers read its new text
    element.removeAttribute("aria-labelledby");
    element.className = "notice";
    fill(line, words);
  };
  show(shadow);
  void people?.then((users) => {
    for (const one of users) names.set(one.id, one.name || one.email);
    show(latest);
  });
  void follow(shadow, show, end);
  return element;
}

/**
 * Return the text that screen readers hear when it changes. It has no number that grows with each request.
 * @param {Shadow} shadow
 */
function summary({ ready, sidecars, until, changes }) {
  const fleet = `${ready} of ${plural(sidecars, "sidecar")} ready.`;
  if (!until) return `${fleet} The policy changes when all of them are.`;
  if (!changes.length) return `${fleet} No decision of this account would change so far.`;
  return `${fleet} Decisions of this account would change in ${plural(changes.length, "cell")} so far.`;
}

/** @param {Shadow} shadow */
function factsOf({ candidate, until }) {
  const ended = until !== null && Date.parse(until) <= Date.now();
  return [
    h("dt", null, "Generation"), h("dd", null, generation(candidate)),
    until ? [h("dt", null, "Shadow"), h("dd", null, ended ? "ended " : "until ", time(until))] : null,
  ];
}

/** @param {string | null} id */
function generation(id) {
  return h("code", { title: id }, id?.slice(0, 8));
}

/**
 * @param {Titles} titles
 * @param {Map<string, string>} names of users by id
 * @returns {import("./table.js").Column<Change>[]}
 */
function columns(titles, names) {
  return [
    { title: "Role", cell: (one) => titles.role(one.role) },
    { title: "Section", cell: (one) => titles.section(one.section) },
    { title: "Action", cell: (one) => titles.action(one.section, one.action) },
    {
      title: "Change",
      cell: (one) => [decision(one.from), h("span", { "aria-hidden": "true" }, " → "),
        h("span", { class: "visually-hidden" }, ", then "),
        h("span", { class: `badge ${one.to === "allow" ? "good" : "bad"}` }, decision(one.to))],
    },
    { title: "Times", cell: (one) => one.times },
    { title: "Users", cell: (one) => usersOf(one.users, names) },
  ];
}

/** @param {"allow" | "deny"} effect */
function decision(effect) {
  return effect === "allow" ? "Allowed" : "Denied";
}

/**
 * Return the number of users, and the names that are known.
 * @param {string[]} users
 * @param {Map<string, string>} names
 */
function usersOf(users, names) {
  const known = users.flatMap((id) => names.get(id) ?? []).slice(0, SHOWN_NAMES);
  const rest = users.length - known.length;
  return h("span", { class: "stacked" },
    users.length < MAX_USERS ? plural(users.length, "user") : `${MAX_USERS} users or more`,
    known.length ? h("span", { class: "soft small" }, list(rest ? [...known, `${rest} more`] : known)) : null);
}

/**
 * Replace the content of an element if its text differs.
 * @param {Element} element
 * @param {...import("./dom.js").Child} children
 */
function renew(element, ...children) {
  if (h("div", null, ...children).textContent !== element.textContent) fill(element, ...children);
}

/**
 * Show a table. Cells with another text are replaced alone, so that a reader's place in the table is kept.
 * @param {Element} place
 * @param {HTMLTableElement} fresh
 */
function draw(place, fresh) {
  const shown = place.querySelector("table");
  if (shown?.rows.length !== fresh.rows.length) {
    fill(place, h("div", { class: "table-card whole-words" }, fresh));
    return;
  }
  for (const [at, row] of [...shown.rows].entries()) {
    for (const [column, cell] of [...row.cells].entries()) {
      const next = fresh.rows[at].cells[column];
      if (next.textContent !== cell.textContent) cell.replaceChildren(...next.childNodes);
    }
  }
}

/**
 * Read the progress until there is no candidate any more, or the role may not read it.
 * @param {Shadow} latest
 * @param {(found: Shadow) => void} show
 * @param {(words: import("./dom.js").Child) => void} end
 */
async function follow(latest, show, end) {
  try {
    for (;;) {
      await pause();
      const found = await read("/v1/policy/shadow");
      if (!found.candidate) break;
      latest = found;
      show(found);
    }
    end(await outcome(latest.candidate));
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    end(`The progress of the policy is not shown any more: ${sentence(problem.detail)}`);
  }
}

/**
 * Return the outcome of an application in words.
 * @param {string | null} candidate
 */
async function outcome(candidate) {
  for (const last of [false, true]) {
    if ((await read("/v1/policy")).generation === candidate) {
      return ["Generation ", generation(candidate), " is in force now. ",
        h("a", { href: "/console/policy" }, "Load the page again"), " to see it."];
    }
    if (!last) await pause(); // a sidecar may end the application a moment before it serves the policy
  }
  return ["The application of generation ", generation(candidate), " has ended, and it is not in force."];
}

/**
 * Read again what the page shows, once it is visible. A proof is not asked for: the reader has not done anything.
 * @param {string} path
 */
function read(path) {
  return persistently(async () => {
    await visible();
    return get(path, { quiet: true });
  });
}

/** @returns {Promise<void>} */
function visible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", () => resolve(), { once: true });
  });
}

/** @returns {Promise<void>} */
function pause() {
  return new Promise((resolve) => {
    setTimeout(resolve, INTERVAL);
  });
}
