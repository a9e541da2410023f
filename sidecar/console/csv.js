// @ts-check
// CSV for spreadsheets: RFC 4180 quoting, and no cell that a spreadsheet runs as a formula. Pure.

/** Text that Excel needs at the start to read the file as UTF-8. */
export const BYTE_ORDER_MARK = "\uFEFF";

const FORMULA = /^[=+\-@\t\r]/;
const QUOTED = /[",\r\n]/;

/**
 * Return one cell. A leading apostrophe makes a formula plain text; quotes keep separators inside the cell.
 * @param {unknown} value text, number, or null for an empty cell
 * @returns {string}
 */
export function cell(value) {
  const text = value === null || value === undefined ? "" : String(value);
  const inert = FORMULA.test(text) ? `'${text}` : text;
  return QUOTED.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert;
}

/**
 * Return a table: the columns' names, then one line per row.
 * @param {string[]} columns
 * @param {Iterable<unknown[]>} rows
 * @returns {string}
 */
export function table(columns, rows) {
  const lines = [columns.map(cell).join(",")];
  for (const row of rows) lines.push(row.map(cell).join(","));
  return lines.join("\r\n") + "\r\n";
}
