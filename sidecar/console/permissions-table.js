// @ts-check
/** The table "Permissions": role × section and action. A cell opens its explanation. */

import { Problem, get } from "./api.js";
import { persistently } from "./banner.js";
import { fill, h, newId, plural, sentence, status } from "./dom.js";
import { onDemand } from "./load.js";
import { needsOf, permissionRows, verdict } from "./permission-rows.js";

/**
 * @typedef {import("./permission-rows.js").Cell} Cell
 * @typedef {import("./permission-rows.js").PermissionRow} PermissionRow
 * @typedef {import("./policy.js").Policy} Policy
 * @typedef {import("./titles.js").Titles} Titles
 */

/**
 * @param {Policy} policy
 * @param {Cell[]} cells
 * @param {Titles} titles
 */
export function permissionsTable(policy, cells, titles) {
  const all = permissionRows(policy.roles, policy.sections, cells);
  const heads = policy.roles.map((role) =>
    h("th", { role: "columnheader", scope: "col" }, role.title,
      role.assignable ? null : h("span", { class: "soft small inherited" }, "inherited, never assigned")));
  const body = h("tbody", { role: "rowgroup" });
  const caption = newId("permissions");
  const table = h("table", { role: "table", class: "permissions", "aria-labelledby": caption },
    h("thead", { role: "rowgroup" },
      h("tr", { role: "row" }, h("th", { role: "columnheader", scope: "col" }, "Section and action"), heads)),
    body);
  const jumps = h("nav", { class: "jumps", "aria-label": "Sections of the table" });
  /** @param {PermissionRow[]} rows */
  const show = (rows) => {
    const sections = [...new Set(rows.map((row) => row.section))];
    fill(jumps, sections.map((id) => h("a", { href: `#${anchor(id)}` }, titles.section(id))));
    fill(body, rows.map((row, at) => line(row, rows[at - 1]?.section === row.section, titles)));
  };
  const box = h("input", { type: "checkbox", id: newId("differ") });
  box.addEventListener("change", () => {
    const rows = box.checked ? all.filter((row) => row.differs) : all;
    show(rows);
    status(`${plural(rows.length, "row")} of ${all.length}`);
  });
  body.addEventListener("click", (event) => void open(event, titles));
  show(all);
  return h("section", { class: "stack" },
    h("div", { class: "row between" },
      h("h2", { id: caption }, "Permissions"),
      h("p", { class: "switch" }, box, h("label", { for: box.id }, "Only where roles differ"))),
    h("p", { class: "soft" }, "Choose a cell to see which rule decides it, and which edit would change it."),
    jumps,
    h("div", { class: "table-card scroll" }, table));
}

/** @param {string} section */
function anchor(section) {
  return `section-${section}`;
}

/**
 * @param {PermissionRow} row
 * @param {boolean} again the row above has the same section
 * @param {Titles} titles
 */
function line(row, again, titles) {
  return h("tr", { role: "row", class: again ? "again" : null, id: again ? null : anchor(row.section) },
    h("th", { role: "rowheader", scope: "row" }, h("div", null,
      h("span", { class: "section" }, titles.section(row.section)),
      h("span", { class: "action" }, titles.action(row.section, row.action)))),
    row.cells.map((cell) => {
      const { word, mark, kind } = verdict(cell);
      const role = titles.role(cell.role);
      const needs = needsOf(cell, titles.condition);
      const name = `${word}${needs && ` with ${needs}`}: ${role}, ${titles.section(row.section)}, ${titles.action(row.section, row.action)}`;
      return h("td", { role: "cell", "data-label": role },
        h("button", {
          type: "button", class: `verdict ${kind}`, "aria-label": name, "aria-haspopup": "dialog",
          "data-role": cell.role, "data-section": cell.section, "data-action": cell.action,
        }, h("span", { class: "mark", "aria-hidden": "true" }, mark), h("span", { class: "word" }, word),
        needs ? h("span", { class: "lock needs" }, needs) : null));
    }));
}

/**
 * @param {MouseEvent} event
 * @param {Titles} titles
 */
async function open(event, titles) {
  const button = event.target instanceof Element ? event.target.closest("button.verdict") : null;
  if (!(button instanceof HTMLElement)) return;
  const { role = "", section = "", action = "" } = button.dataset;
  const query = new URLSearchParams({ role, section, action });
  try {
    const [view, found] = await persistently(() => Promise.all([
      onDemand(() => import("./explanation-view.js")),
      get(`/v1/policy/explain?${query}`),
    ]));
    view.explainInDialog(found, titles, button);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    status(sentence(problem.detail));
  }
}
