// @ts-check
/** The report of a preview on the page. */

import { get } from "./api.js";
import { fill, h, list, plural, status } from "./dom.js";
import { gridTable } from "./grid-view.js";
import { gridOf } from "./preview-grid.js";
import {
  changes, compiles, failedLine, findings, needChanges, omittedLine, remedy, renameLines, routeLines, summary,
} from "./preview-report.js";
import { table } from "./table.js";

/**
 * @typedef {import("./preview-report.js").Preview} Preview
 * @typedef {import("./preview-report.js").Diagnostic} Diagnostic
 * @typedef {import("./preview-report.js").ChangeLine} ChangeLine
 * @typedef {import("./titles.js").Titles} Titles
 * @typedef {import("./permission-rows.js").Matrix} Matrix
 * @typedef {{file: string, line: number, column: number}} Position
 * @typedef {{element: HTMLElement, heading: HTMLElement, outdate: () => void}} Report
 */

/**
 * What a report is drawn with. `edited`: names of the edited files. `reveal` shows a line of one of them.
 * @typedef {{titles: Titles, matrix: Matrix, edited: string[], reveal: (file: string, line: number) => void}} Context
 */

/**
 * Return the matrix of the policy that a preview compares with: the page's own, unless an edit came into force since.
 * @param {Preview} found
 * @param {Matrix} matrix
 * @returns {Promise<Matrix>}
 */
export async function comparedWith(found, matrix) {
  return matrix.generation === found.generation ? matrix : get("/v1/policy/matrix");
}

/**
 * Return the report and its heading, which gets the focus. `outdate` withdraws its verdict after a change of the edit.
 * @param {Preview} found
 * @param {Context} context
 * @returns {Report}
 */
export function report(found, context) {
  const { titles } = context;
  const text = summary(found);
  const rejected = text.startsWith("This edit would be rejected");
  const heading = h("h3", { tabindex: "-1", class: rejected ? "outcome bad" : "outcome good" }, text);
  const omitted = omittedLine(found);
  const element = h("div", { class: "report" },
    heading,
    compiles(found)
      ? [
        renames(found),
        cells("Opens", "opens", changes(found, "allow", titles), "It opens no permission."),
        cells("Closes", "closes", changes(found, "deny", titles), "It closes no permission."),
        needs(needChanges(found, titles)),
        grid(found, context),
        routes(found, titles),
        failed(found, context),
      ]
      : h("p", null, "What it opens and closes is known once the files have no such error."),
    diagnostics(findings(found), context),
    omitted ? h("p", { class: "soft" }, omitted) : null);
  return {
    heading,
    element,
    outdate: () => {
      const text = "Outdated: the edit has changed since this preview.";
      fill(heading, text);
      heading.className = "outcome";
      element.classList.add("outdated");
      status(text);
    },
  };
}

/**
 * Return the renamed names; nothing if there are none.
 * @param {Preview} found
 */
function renames(found) {
  const lines = renameLines(found);
  if (lines.length === 0) return null;
  return part("Renames", lines.length, [
    h("ul", { class: "changes" }, lines.map((line) =>
      h("li", null, h("strong", null, line.text), h("span", { class: "people" }, line.extent)))),
    h("p", { class: "soft" }, "The rest of this report uses the new names."),
  ]);
}

/**
 * Return the grid, or why there is none; nothing if no cell changes.
 * @param {Preview} found
 * @param {Context} context
 */
function grid(found, { matrix, titles }) {
  const shown = gridOf(found, matrix);
  if (typeof shown === "string") return part("Grid", 0, h("p", { class: "soft" }, shown));
  if (shown.rows.length === 0) return null;
  return part("Grid", shown.rows.length, [
    h("p", { class: "soft" }, "Each row that the edit changes, as it would be for every role."),
    gridTable(shown, titles),
  ]);
}

/**
 * @param {string} title
 * @param {string} kind
 * @param {ChangeLine[]} lines
 * @param {string} none
 */
function cells(title, kind, lines, none) {
  return part(title, lines.length, lines.length === 0
    ? h("p", { class: "soft" }, none)
    : h("ul", { class: `changes ${kind}` }, lines.map((line) =>
      h("li", null, h("strong", null, line.text), people(line)))));
}

/** @param {ChangeLine} line */
function people(line) {
  const all = line.people.length > 0
    ? `${plural(line.people.length, "person", "people")}: ${list(line.people)}`
    : "No one has this role.";
  const parts = [
    all,
    line.without.length > 0 ? `No second factor yet: ${list(line.without)}` : "",
    line.tokenOnly.length > 0 ? `Signs in by /token alone, so cannot meet it: ${list(line.tokenOnly)}` : "",
  ];
  return parts.map((text) => (text ? h("span", { class: "people" }, text) : null));
}

/**
 * Return the cells whose needs change, each with examples; nothing if there are none.
 * @param {import("./preview-report.js").NeedLine[]} lines
 */
function needs(lines) {
  if (lines.length === 0) return null;
  return part("Needs", lines.length, h("ul", { class: "changes needs" }, lines.map((line) =>
    h("li", null,
      h("strong", null, line.text), ` ${line.asks} `, line.opens ? h("span", { class: "badge warn" }, "Opens") : null,
      people(line),
      line.witnesses.length > 0
        ? h("ul", { class: "witnesses", "aria-label": "Examples" }, line.witnesses.map((one) => h("li", null, one)))
        : null))));
}

/**
 * @param {Preview} found
 * @param {Titles} titles
 */
function routes(found, titles) {
  if (found.routes.length === 0) return part("Routes", 0, h("p", { class: "soft" }, "It changes no route."));
  const rows = routeLines(found.routes, titles);
  /** @type {import("./table.js").Column<import("./preview-report.js").RouteLine>[]} */
  const columns = [
    { title: "Path", cell: (one) => h("code", null, one.path) },
    { title: "Methods", cell: (one) => one.methods },
    { title: "Now", cell: (one) => one.from },
    { title: "Then", cell: (one) => one.to },
    { title: "Access", cell: (one) => (one.opens ? "Opens" : "Does not open") },
  ];
  return part("Routes", found.routes.length, table("Routes", columns, rows));
}

/**
 * @param {Preview} found
 * @param {Context} context
 */
function failed(found, context) {
  const { passed, failed: lines } = found.expectations;
  return part("Failed expectations", lines.length, lines.length === 0
    ? h("p", { class: "soft" }, `All ${passed} expectations hold.`)
    : h("ul", { class: "changes" }, lines.map((one) =>
      h("li", null, failedLine(one, context.titles), h("span", { class: "people" }, remedy(found, one).map((part) =>
        typeof part === "string" ? part : lineOf(part, `line ${part.line} of ${part.file}`, context)))))));
}

/**
 * @param {Diagnostic[]} found
 * @param {Context} context
 */
function diagnostics(found, context) {
  if (found.length === 0) {
    return part("Diagnostics", 0, h("p", { class: "soft" }, "There are no errors and no warnings."));
  }
  /** @type {import("./table.js").Column<Diagnostic>[]} */
  const columns = [
    { title: "Place", cell: (one) => places(one, context) },
    { title: "Severity", cell: (one) =>
      h("span", { class: one.severity === "error" ? "badge bad" : "badge warn" }, one.severity) },
    { title: "Finding", cell: (one) => [one.message, one.hint ? h("p", { class: "soft" }, one.hint) : null] },
    { title: "Code", cell: (one) => h("code", null, one.code) },
  ];
  return part("Diagnostics", found.length, table("Diagnostics", columns, found));
}

/**
 * Return the position of a finding, and the further positions of the same cause.
 * @param {Diagnostic} one
 * @param {Context} context
 */
function places({ file, line, column, places: further }, context) {
  const first = position({ file, line, column }, context);
  if (further.length === 0) return first;
  return [first, h("details", { class: "further" },
    h("summary", null, plural(further.length, "further place")),
    h("ul", null, further.map((at) => h("li", null, position({ file, ...at }, context)))))];
}

/**
 * @param {Position} at
 * @param {Context} context
 */
function position({ file, line, column }, context) {
  const name = file.split("/").pop() ?? file;
  return lineOf({ file: name, line }, `${name}, line ${line}, column ${column}`, context);
}

/**
 * Return a button that selects the line, or the text alone if its file is not in the edit.
 * @param {{file: string, line: number}} at
 * @param {string} text
 * @param {Context} context
 */
function lineOf({ file, line }, text, { edited, reveal }) {
  if (!edited.includes(file)) return text;
  return h("button", { type: "button", class: "plain place", onclick: () => reveal(file, line) }, text);
}

/**
 * @param {string} title
 * @param {number} number
 * @param {import("./dom.js").Child} content
 */
function part(title, number, content) {
  const badge = number > 0 ? h("span", { class: "badge" }, number) : null;
  return h("section", { class: "part" }, h("h4", null, title, badge), content);
}
