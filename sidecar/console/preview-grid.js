// @ts-check
// Grid of a preview: the rows of the policy's table that an edit changes, with each cell before and after. Pure.

import { needsOf, verdict } from "./permission-rows.js";
import { REQUIREMENTS } from "./preview-report.js";

/**
 * @typedef {import("./permission-rows.js").Cell} Cell
 * @typedef {import("./permission-rows.js").Matrix} Matrix
 * @typedef {import("./preview-report.js").Preview} Preview
 * @typedef {import("./preview-report.js").Rename} Rename
 * @typedef {{role: string, section: string, action: string}} Name
 */

/**
 * Cell of the grid. `asks`: how its needs change, if they do. `needs`: of an allowed cell that the edit leaves as it is.
 * @typedef {{role: string, was: boolean, is: boolean, asks: string, needs: string[][]}} GridCell
 * @typedef {{section: string, action: string, cells: GridCell[]}} GridRow
 * @typedef {{roles: string[], rows: GridRow[]}} Grid
 */

/**
 * Return the grid, or a sentence that says why there is none: a cell that is not listed would look unchanged.
 *
 * Rows and roles are in the policy's order and under their new names; new ones come last.
 * @param {Preview} found
 * @param {Matrix} matrix of the policy that the edit is compared with
 * @returns {Grid | string}
 */
export function gridOf(found, matrix) {
  if (matrix.generation !== found.generation) {
    return "The policy in force changed during this preview. Preview the edit again to see the grid.";
  }
  if (found.omitted.changes + found.omitted.renames > 0) {
    return "There is no grid, because this report does not list every change.";
  }
  const rename = renamer(found.renames);
  const before = new Map(matrix.cells.map((cell) => [key(rename(cell)), { ...cell, ...rename(cell) }]));
  const changes = new Map(found.changes.map((one) => [key(one), one]));
  const all = [...before.values(), ...found.changes];
  const roles = [...new Set(all.map((one) => one.role))];
  const changed = new Set(found.changes.map(row));
  const rows = inSections(all).filter((one) => changed.has(row(one)));
  return {
    roles,
    rows: rows.map(({ section, action }) => ({
      section,
      action,
      cells: roles.map((role) => {
        const name = key({ role, section, action });
        return gridCell(role, before.get(name), changes.get(name));
      }),
    })),
  };
}

/**
 * @param {string} role
 * @param {Cell | undefined} before undefined: a new row or role, denied until the edit allows it
 * @param {import("./preview-report.js").Change | undefined} change
 * @returns {GridCell}
 */
function gridCell(role, before, change) {
  if (!change) {
    const allowed = before?.decision ?? false;
    return { role, was: allowed, is: allowed, asks: "", needs: before?.needs ?? [] };
  }
  const asks = change.requirement ? REQUIREMENTS[change.requirement] ?? change.requirement : "";
  return { role, was: change.from === "allow", is: change.to === "allow", asks, needs: [] };
}

/**
 * Return word and mark of a cell after the edit, and a note: what it was, or what it needs.
 * @param {GridCell} cell
 * @param {import("./titles.js").Titles} titles
 * @returns {{word: string, mark: string, kind: string, note: string, changed: boolean}}
 */
export function cellWords(cell, titles) {
  const { word, mark, kind } = verdict({ decision: cell.is, reason: "" });
  const before = verdict({ decision: cell.was, reason: "" });
  const needs = needsOf(cell, titles.condition);
  const note = cell.was === cell.is ? cell.asks || (needs && `needs ${needs}`) : `was ${before.word.toLowerCase()}`;
  return { word, mark, kind, note, changed: cell.was !== cell.is || cell.asks !== "" };
}

/**
 * Return the rows of these cells, those of one section together.
 * @param {Name[]} cells
 * @returns {{section: string, action: string}[]}
 */
function inSections(cells) {
  /** @type {Map<string, Set<string>>} */
  const actions = new Map();
  for (const { section, action } of cells) {
    actions.set(section, (actions.get(section) ?? new Set()).add(action));
  }
  return [...actions].flatMap(([section, names]) => [...names].map((action) => ({ section, action })));
}

/**
 * Return the function from the old name of a cell to its new one. An action is renamed as `SECTION/ACTION`.
 * @param {Rename[]} renames
 * @returns {(cell: Name) => Name}
 */
function renamer(renames) {
  const names = new Map(renames.map((one) => [`${one.kind} ${one.from}`, one.to]));
  return ({ role, section, action }) => ({
    role: names.get(`role ${role}`) ?? role,
    section: names.get(`section ${section}`) ?? section,
    action: names.get(`action ${section}/${action}`)?.split("/")[1] ?? action,
  });
}

/** @param {Name} cell */
function key(cell) {
  return `${cell.role} ${row(cell)}`;
}

/** @param {{section: string, action: string}} cell */
function row({ section, action }) {
  return `${section}/${action}`;
}
