// @ts-check
// Report of a preview (`POST /v1/policy/preview`): what an edit renames, opens, closes and breaks. Pure.

import { cellTitle } from "./explanation.js";
import { count } from "./titles.js";

/**
 * @typedef {import("./explanation.js").Person} Person
 * @typedef {Person & {factors?: number, token_only?: boolean}} Holder
 * @typedef {import("./titles.js").Titles} Titles
 * @typedef {{direction: "narrower" | "wider", text: string}} Witness
 * @typedef {{role: string, section: string, action: string, from: string, to: string, users: Holder[],
 *   requirement?: "narrower" | "wider" | "both", witnesses?: Witness[], needs_factor?: boolean}} Change
 * @typedef {{method: string, path: string, from: string, to: string, opens: boolean}} RouteChange
 * @typedef {{kind: "role" | "section" | "action", from: string, to: string, cells: number, routes: number,
 *   changes: number}} Rename
 * @typedef {{severity: string, code: string, file: string, line: number, column: number, message: string,
 *   hint: string, places: {line: number, column: number}[]}} Diagnostic
 * @typedef {object} Failed
 * @property {string} rule
 * @property {string} [role]
 * @property {string} [section]
 * @property {string} [action]
 * @property {string} [method]
 * @property {string} [path]
 * @property {string[]} [without] conditions that are missing
 * @property {string} expected
 * @property {string} got
 * @typedef {object} Preview
 * @property {string} generation of the policy that the edit is compared with
 * @property {boolean} valid
 * @property {Diagnostic[]} diagnostics
 * @property {Rename[]} renames changes and routes are those beside them, under the new names
 * @property {Change[]} changes
 * @property {RouteChange[]} routes
 * @property {{passed: number, failed: Failed[]}} expectations
 * @property {{diagnostics: number, renames: number, changes: number, users: number, routes: number,
 *   failed: number}} omitted
 */

/**
 * Changed cell in words. `people`: the affected users by name. Of those who lack a second factor that
 * is needed, `without` can enrol one, and `tokenOnly` have only ever signed in by /token.
 * @typedef {{text: string, people: string[], without: string[], tokenOnly: string[]}} ChangeLine
 */

/**
 * Return the report's first sentence: whether the edit could be activated, and why not.
 * @param {Preview} found
 * @returns {string}
 */
export function summary(found) {
  const errors = findings(found).filter((one) => one.severity === "error").length;
  const failed = found.expectations.failed.length + found.omitted.failed;
  const reasons = [];
  if (failed) reasons.push(count(failed, "failed expectation"));
  if (errors) reasons.push(count(errors, "error"));
  if (!found.valid || reasons.length) return `This edit would be rejected: ${reasons.join(", ") || "it is not valid"}.`;
  if (!found.changes.length && !found.routes.length) {
    const renamed = renamedNames(found);
    return `This edit ${renamed && `renames ${renamed}. It `}changes no permission and no route.`;
  }
  return "This edit could be activated.";
}

/**
 * Return true if the rules compile, so that changes and expectations are known. A policy has expectations.
 * @param {Preview} found
 * @returns {boolean}
 */
export function compiles(found) {
  return found.expectations.passed + found.expectations.failed.length > 0 || findings(found).length === 0;
}

/** Diagnostics that repeat a failed expectation. */
const FAILED = new Set(["failed-expectation", "failed-route"]);

/**
 * Return the diagnostics that no failed expectation shows already.
 * @param {Preview} found
 * @returns {Diagnostic[]}
 */
export function findings(found) {
  return found.diagnostics.filter((one) => !FAILED.has(one.code));
}

/**
 * Return the number of renamed names: "1 role, 2 actions". Empty without renames.
 * @param {Preview} found
 * @returns {string}
 */
function renamedNames({ renames }) {
  const kinds = [...new Set(renames.map((one) => one.kind))];
  return kinds.map((kind) => count(renames.filter((one) => one.kind === kind).length, kind)).join(", ");
}

/**
 * Rename in words: "Section media-library is renamed to assets", "20 cells, 6 routes, no answer changes".
 * @typedef {{text: string, extent: string}} RenameLine
 */

/**
 * Return the renamed names in words.
 * @param {Preview} found
 * @returns {RenameLine[]}
 */
export function renameLines({ renames }) {
  return renames.map(({ kind, from, to, cells, routes, changes }) => ({
    text: `${capitalised(kind)} ${from} is renamed to ${to}`,
    extent: [
      count(cells, "cell"), count(routes, "route"),
      changes === 0 ? "no answer changes" : changes === 1 ? "1 answer changes" : `${changes} answers change`,
    ].join(", "),
  }));
}

/**
 * Return the changes that open or close a cell, in words.
 * @param {Preview} found
 * @param {"allow" | "deny"} to
 * @param {Titles} titles
 * @returns {ChangeLine[]}
 */
export function changes(found, to, titles) {
  return found.changes
    .filter((change) => change.to === to && !change.requirement)
    .map((change) => line(change, titles));
}

/**
 * @param {Change} change
 * @param {Titles} titles
 * @returns {ChangeLine}
 */
function line(change, titles) {
  /** @param {Person} user */
  const name = (user) => user.name || user.email;
  const lacking = change.needs_factor ? change.users.filter((user) => user.factors === 0) : [];
  return {
    text: `${titles.role(change.role)}: ${cellTitle(change, titles)}`,
    people: change.users.map(name),
    without: lacking.filter((user) => !user.token_only).map(name),
    tokenOnly: lacking.filter((user) => user.token_only).map(name),
  };
}

/** Changes of needs in words. @type {Record<string, string>} */
export const REQUIREMENTS = {
  narrower: "asks for more",
  wider: "asks for less",
  both: "asks for something else",
};

/**
 * Cell whose needs change. `opens`: it allows what was denied. `witnesses`: examples, as sentences.
 * @typedef {ChangeLine & {asks: string, opens: boolean, witnesses: string[]}} NeedLine
 */

/**
 * Return the cells that stay allowed and whose needs change, in words.
 * @param {Preview} found
 * @param {Titles} titles
 * @returns {NeedLine[]}
 */
export function needChanges(found, titles) {
  return found.changes.flatMap((change) => (change.requirement
    ? [{
      ...line(change, titles),
      asks: REQUIREMENTS[change.requirement] ?? change.requirement,
      opens: change.requirement !== "narrower",
      witnesses: (change.witnesses ?? []).map((one) => one.text),
    }]
    : []));
}

/**
 * Changed route in words. `methods`: all that change alike, for example "GET, POST".
 * @typedef {{path: string, methods: string, from: string, to: string, opens: boolean}} RouteLine
 */

/**
 * Return the changed routes in words, one line per path and change.
 * @param {RouteChange[]} routes
 * @param {Titles} titles
 * @returns {RouteLine[]}
 */
export function routeLines(routes, titles) {
  /** @type {Map<string, RouteLine>} */
  const found = new Map();
  for (const { method, path, from, to, opens } of routes) {
    const key = JSON.stringify([path, from, to, opens]);
    const line = found.get(key);
    if (line) line.methods += `, ${method}`;
    else found.set(key, { path, methods: method, from: routeTarget(from, titles), to: routeTarget(to, titles), opens });
  }
  return [...found.values()];
}

/** `SECTION/ACTION`; with own segments `own SECTION/ACTION`, and with their places `own SECTION/ACTION, PLACES`. */
const CELL = /^(own )?([^/]+)\/([^,]+)(?:, (.+))?$/;

/** Targets that are no cell. @type {Record<string, string>} */
const TARGETS = {
  public: "public, without sign-in",
  unmatched: "denied, no route",
  not_yours: "denied, not one's own",
};

/**
 * @param {string} target
 * @param {Titles} titles
 * @returns {string}
 */
function routeTarget(target, titles) {
  const [, own, section, action, places] = target.match(CELL) ?? [];
  if (!action) return TARGETS[target] ?? `denied, ${target}`;
  const cell = cellTitle({ section, action }, titles);
  return own ? `${cell}, for one's own${places ? ` (${places})` : ""}` : cell;
}

/** Hint of a failed test: "fix line 7 of policy.csv, or write allow here". */
const HINT = /^(?:fix line (\d+) of policy\.csv|(.+)), or write (.+) here$/;

/**
 * Return how to mend a failed test, with each line as its file and number: "Fix line 7 of policy.csv, or change line 2
 * of expectations.csv to “allow”." The place and any other hint as it is. Only the place, if its diagnostic is left out.
 * @param {Preview} found
 * @param {Failed} failed
 * @returns {(string | {file: string, line: number})[]}
 */
export function remedy(found, failed) {
  const [path, number] = failed.rule.split(":");
  const here = { file: path.split("/").pop() ?? path, line: Number(number) };
  const same = found.diagnostics.find((one) =>
    FAILED.has(one.code) && one.file === path && [one, ...one.places].some((at) => at.line === here.line));
  const [, rule, other, result] = same?.hint.match(HINT) ?? [];
  if (!result) return same ? [here, `: ${same.hint}`] : [here];
  const first = rule ? ["Fix ", { file: "policy.csv", line: Number(rule) }] : [capitalised(other)];
  return [...first, ", or change ", here, ` to “${result}”.`];
}

/**
 * Return a failed expectation in words: the subject, and expected and actual result.
 * @param {Failed} failed
 * @param {Titles} titles
 * @returns {string}
 */
export function failedLine(failed, titles) {
  const { role = "", section = "", action = "", without = [], method, path } = failed;
  if (path === undefined) {
    const missing = without.length ? ` without ${without.map(titles.condition).join(" and ")}` : "";
    const cell = `${titles.role(role)}: ${cellTitle({ section, action }, titles)}${missing}`;
    return `${cell}: expected ${failed.expected}, got ${failed.got}`;
  }
  const [expected, got] = [failed.expected, failed.got].map((target) => routeTarget(target, titles));
  return `${method} ${path}: expected ${expected}; got ${got}`;
}

/**
 * Return a sentence about entries that the response leaves out, or an empty text.
 * @param {Preview} found
 * @returns {string}
 */
export function omittedLine({ omitted }) {
  const parts = Object.entries(omitted)
    .filter(([, number]) => number > 0)
    .map(([name, number]) => count(number, NOUNS[name] ?? name));
  return parts.length ? `Not listed, because the report would be too long: ${parts.join(", ")}.` : "";
}

/** @type {Record<string, string>} */
const NOUNS = {
  diagnostics: "diagnostic",
  renames: "rename",
  changes: "change",
  users: "affected user",
  routes: "route",
  failed: "failed expectation",
};

/** @param {string} text */
function capitalised(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
