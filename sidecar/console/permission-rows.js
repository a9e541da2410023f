// @ts-check
// Rows of the table "Permissions": one per section and action, one cell per role. Pure.

/**
 * Cell of `GET /v1/policy/matrix`. `needs`: per line of needs.csv, the conditions of which one is enough.
 * @typedef {{role: string, section: string, action: string, decision: boolean, reason: string, rule: string | null,
 *   needs?: string[][]}} Cell
 * @typedef {{generation: string, cells: Cell[], conditions?: {name: string, title: string}[]}} Matrix
 * @typedef {{section: string, action: string, cells: Cell[], differs: boolean}} PermissionRow
 */

/**
 * Return the rows in the policy's order. `differs`: the roles have different permissions.
 * @param {{id: string}[]} roles
 * @param {{id: string, actions: string[]}[]} sections
 * @param {Cell[]} cells
 * @returns {PermissionRow[]}
 */
export function permissionRows(roles, sections, cells) {
  const known = new Map(cells.map((cell) => [key(cell.role, cell.section, cell.action), cell]));
  return sections.flatMap((section) =>
    section.actions.map((action) => {
      const row = roles.map(
        (role) => known.get(key(role.id, section.id, action)) ?? undecided(role.id, section.id, action),
      );
      const differs = row.some((cell) =>
        cell.decision !== row[0].decision || String(cell.needs ?? "") !== String(row[0].needs ?? ""));
      return { section: section.id, action, cells: row, differs };
    }),
  );
}

/**
 * Return the word and the mark of a decision. The mark is never a colour alone.
 * @param {{decision: boolean, reason: string}} cell
 * @returns {{word: string, mark: string, kind: "allowed" | "denied" | "forbidden"}}
 */
export function verdict(cell) {
  if (cell.decision) return { word: "Allowed", mark: "✓", kind: "allowed" };
  if (cell.reason === "explicit_deny") return { word: "Denied by rule", mark: "✕", kind: "forbidden" };
  return { word: "Denied", mark: "–", kind: "denied" };
}

/**
 * Return what an allowed cell needs, in words: "Second factor or Office; Recent sign-in". Empty without needs.
 * @param {{needs?: string[][]}} cell
 * @param {import("./titles.js").TitleOf} title of a condition
 * @returns {string}
 */
export function needsOf({ needs = [] }, title) {
  return needs.map((line) => line.map(title).join(" or ")).join("; ");
}

/**
 * @param {string} role
 * @param {string} section
 * @param {string} action
 * @returns {string}
 */
function key(role, section, action) {
  return `${role} ${section} ${action}`;
}

/**
 * Return the cell that the matrix does not hold, because the policy changed between two calls. It is a denial.
 * @param {string} role
 * @param {string} section
 * @param {string} action
 * @returns {Cell}
 */
function undecided(role, section, action) {
  return { role, section, action, decision: false, reason: "no_rule", rule: null };
}
