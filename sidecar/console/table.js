// @ts-check
/** Tables that become cards in a narrow window and stay tables for screen readers. */

import { h } from "./dom.js";

/**
 * A column: heading, and the cell of a row. `actions`: the heading is for screen readers alone.
 * @template T
 * @typedef {{title: string, cell: (row: T) => import("./dom.js").Child, actions?: boolean}} Column
 */

/**
 * Create a table. The first column heads its row. The explicit roles outlive `display: block` of narrow windows.
 * @template T
 * @param {string} name accessible name
 * @param {Column<T>[]} columns
 * @param {T[]} rows
 * @returns {HTMLTableElement}
 */
export function table(name, columns, rows) {
  const heads = columns.map((column) =>
    h("th", { role: "columnheader", scope: "col" },
      column.actions ? h("span", { class: "visually-hidden" }, column.title) : column.title));
  return h("table", { role: "table", "aria-label": name },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)),
    h("tbody", { role: "rowgroup" }, rows.map((row) => h("tr", { role: "row" }, cells(columns, row)))));
}

/**
 * @template T
 * @param {Column<T>[]} columns
 * @param {T} row
 */
function cells(columns, row) {
  return columns.map((column, at) => {
    const attributes = { "data-label": at > 0 && !column.actions ? column.title : null, class: column.actions ? "row-actions" : null };
    return at === 0
      ? h("th", { role: "rowheader", scope: "row", ...attributes }, column.cell(row))
      : h("td", { role: "cell", ...attributes }, h("div", null, column.cell(row)));
  });
}
