// @ts-check
/** The grid of a preview on the page: sections and actions down, roles across. */

import { h } from "./dom.js";
import { cellTitle } from "./explanation.js";
import { cellWords } from "./preview-grid.js";
import { table } from "./table.js";

/**
 * @typedef {import("./preview-grid.js").Grid} Grid
 * @typedef {import("./preview-grid.js").GridRow} GridRow
 * @typedef {import("./titles.js").Titles} Titles
 */

/**
 * Return the table, which scrolls sideways if the policy has many roles.
 * @param {Grid} grid
 * @param {Titles} titles
 * @returns {HTMLElement}
 */
export function gridTable({ roles, rows }, titles) {
  /** @type {import("./table.js").Column<GridRow>[]} */
  const columns = [
    { title: "Section and action", cell: (row) => cellTitle(row, titles) },
    ...roles.map((role, at) => ({
      title: titles.role(role),
      cell: (/** @type {GridRow} */ row) => decision(row.cells[at], titles),
    })),
  ];
  const element = table("Grid", columns, rows);
  element.classList.add("grid");
  return h("div", { class: "scroll", role: "region", "aria-label": "Grid, before and after the edit", tabindex: "0" }, element);
}

/**
 * @param {import("./preview-grid.js").GridCell} cell
 * @param {Titles} titles
 */
function decision(cell, titles) {
  const { word, mark, kind, note, changed } = cellWords(cell, titles);
  return h("div", { class: `decision ${changed ? kind : "soft"}` },
    h("span", { class: "mark", "aria-hidden": "true" }, mark),
    h("span", null,
      changed ? h("strong", null, word) : word,
      note ? h("span", { class: "people" }, note) : null));
}
