// @ts-check
// Explanation of a decision (`GET /v1/policy/explain`) as sentences and quoted lines. Pure.

import { count } from "./titles.js";

/**
 * @typedef {{rule: string, text: string}} Line
 * @typedef {{edit: "write" | "remove" | "replace", line: string, rule: string | null}} Edit
 * @typedef {{id: string, email: string, name: string, status: string}} Person
 * @typedef {object} Explained
 * @property {string} role
 * @property {string} section
 * @property {string} action
 * @property {boolean} decision
 * @property {string} reason
 * @property {string | null} hint
 * @property {string | null} rule
 * @property {string | null} text
 * @property {Line[]} path
 * @property {Line | null} overridden
 * @property {(Line & {mismatches: string[]}) | null} nearest
 * @property {Edit[]} edits
 * @property {Edit[]} [expectations] edits of expectations.csv that `edits` require
 * @property {{count: number, cells: {role: string, section: string, action: string}[]}} side_effects
 * @property {string[]} roles
 * @property {string} generation
 * @property {Person | null} user
 * @property {Line[]} [needs] lines of needs.csv for the cell
 * @property {string[]} [unmet] conditions that would do, if only needs deny
 * @property {boolean} [sign_in] signing in meets all of them
 * @property {Line[]} [own] routes of the cell with own segments
 */

/**
 * Block of an explanation: a heading, sentences, and quoted lines of policy.csv with their position.
 * @typedef {{label: string, sentences: string[], lines: {place: string, text: string}[]}} Block
 */

/** @typedef {import("./titles.js").Titles} Titles */

/** @type {Record<string, string>} */
const REASONS = {
  allowed: "A rule allows it.",
  no_rule: "No rule allows it.",
  explicit_deny: "A rule denies it, and a deny beats every allow.",
  step_up_required: "A rule allows it, but a need is not met now. Signing in again can meet it.",
  condition_unmet: "A rule allows it, but a need is not met now.",
  suspended: "This user is suspended.",
  needs_review: "This user is held for review.",
  not_yours: "The path is not one's own.",
  unknown_user: "This user has not joined yet.",
  unknown_section: "The policy has no such section.",
  unknown_action: "The section has no such action.",
};

/**
 * Return the answer as text: "No. Bob may not do “View” in Billing."
 * @param {Explained} found
 * @param {Titles} titles
 * @returns {string}
 */
export function answer(found, titles) {
  const subject = found.user ? found.user.name || found.user.email : titles.role(found.role);
  const [word, may] = found.decision ? ["Yes", "may"] : ["No", "may not"];
  const action = titles.action(found.section, found.action);
  return `${word}. ${subject} ${may} do “${action}” in ${titles.section(found.section)}.`;
}

/**
 * Return section and action as text: "Billing: Change the plan".
 * @param {{section: string, action: string}} cell
 * @param {Titles} titles
 * @returns {string}
 */
export function cellTitle(cell, titles) {
  return `${titles.section(cell.section)}: ${titles.action(cell.section, cell.action)}`;
}

/**
 * Return the blocks of an explanation, without empty ones.
 * @param {Explained} found
 * @param {Titles} titles
 * @returns {Block[]}
 */
export function blocks(found, titles) {
  const all = [
    why(found, titles),
    block("Inherited through", [], found.path.map(quoted)),
    needs(found, titles),
    own(found),
    found.overridden && block("Overrides", ["The deny beats this rule."], [quoted(found.overridden)]),
    found.nearest && nearest(found.nearest),
    edits(found, titles),
    block("Roles that may", [found.roles.length ? found.roles.map(titles.role).join(", ") : "None."], []),
  ];
  return all.filter((one) => one !== null).filter((one) => one.sentences.length + one.lines.length > 0);
}

/**
 * @param {Explained} found
 * @param {Titles} titles
 * @returns {Block}
 */
function why(found, titles) {
  const sentences = [REASONS[found.reason] ?? `Reason: ${found.reason}.`];
  if (found.user) sentences.push(`Role: ${titles.role(found.role)}.`);
  if (found.hint) sentences.push(found.hint);
  return block("Why", sentences, found.rule ? [{ place: found.rule, text: found.text ?? "" }] : []);
}

/**
 * Return the lines of needs.csv. An answer about a role cannot know who asks from where.
 * @param {Explained} found
 * @param {Titles} titles
 * @returns {Block}
 */
function needs({ needs: lines = [], unmet = [], sign_in: signIn }, titles) {
  if (!lines.length) return block("", [], []);
  const names = unmet.map(titles.condition).join(", ");
  const sentences = ["One condition of each line must be met at that moment."];
  if (names) sentences.push(`Unmet: ${names}. ${signIn ? "Signing in again can meet that." : "Signing in cannot meet that."}`);
  return block("Needs", sentences, lines.map(quoted));
}

/**
 * Return the routes whose path must hold the caller's own ids.
 * @param {Explained} found
 * @returns {Block}
 */
function own({ own: routes = [] }) {
  const sentences = routes.length ? ["On these routes, the path must hold the caller's own ids."] : [];
  return block("For one's own", sentences, routes.map(quoted));
}

/**
 * @param {Line & {mismatches: string[]}} rule
 * @returns {Block}
 */
function nearest(rule) {
  const others = rule.mismatches.map((part) => `another ${part}`).join(" and ");
  return block("Nearest rule", [others ? `It allows ${others}.` : "It matches, but a deny beats it."], [quoted(rule)]);
}

/**
 * @param {Explained} found
 * @param {Titles} titles
 * @returns {Block}
 */
function edits({ edits: found, expectations = [], side_effects: effects }, titles) {
  if (!found.length) return block("", [], []);
  const lines = found.map((edit) => ({ place: VERBS[edit.edit](edit.rule), text: edit.line }));
  lines.push(...expectations.map((edit) => ({
    place: edit.rule ? VERBS.replace(edit.rule) : "Write in expectations.csv", text: edit.line })));
  const tests = expectations.length ? `, and ${count(expectations.length, "edit")} of expectations.csv` : "";
  const sentences = [`${count(found.length, "edit")} of policy.csv${tests}:`];
  if (effects.count) {
    const shown = effects.cells.map((cell) => `${titles.role(cell.role)}, ${cellTitle(cell, titles)}`);
    const rest = effects.count - shown.length;
    if (rest) shown.push(`and ${rest} more`);
    sentences.push(`They also open ${count(effects.count, "other cell")}: ${shown.join("; ")}.`);
  }
  return block("What would allow it", sentences, lines);
}

/** @type {Record<Edit["edit"], (rule: string | null) => string>} */
const VERBS = {
  write: () => "Write",
  remove: (rule) => `Remove ${rule ?? ""}`.trim(),
  replace: (rule) => `Replace ${rule ?? ""} by`,
};

/**
 * @param {string} label
 * @param {string[]} sentences
 * @param {{place: string, text: string}[]} lines
 * @returns {Block}
 */
function block(label, sentences, lines) {
  return { label, sentences, lines };
}

/**
 * @param {Line} line
 * @returns {{place: string, text: string}}
 */
function quoted(line) {
  return { place: line.rule, text: line.text };
}
