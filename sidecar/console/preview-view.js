// @ts-check
/** The report of a preview on the page. */

import { fill, h, list, plural, status } from "./dom.js";
import {
  changes, compiles, failedLine, findings, needChanges, omittedLine, remedy, routeLines, summary,
} from "./preview-report.js";
import { table } from "./table.js";

/**
 * @typedef {import("./preview-report.js").Preview} Preview
 * @typedef {import("./preview-report.js").Diagnostic} Diagnostic
 * @typedef {import("./preview-report.js").ChangeLine} ChangeLine
 * @typedef {import("./titles.js").Titles} Titles
 * @typedef {{element: HTMLElement, heading: HTMLElement, outdate: () => void}} Report
 */

/**
 * Return the report and its heading, which gets the focus. `outdate` withdraws its verdict after a change of the edit.
 * @param {Preview} found
 * @param {Titles} titles
 * @param {string[]} edited names of the edited files
 * @param {(file: string, line: number) => void} reveal shows a line of an edited file
 * @returns {Report}
 */
export function report(found, titles, edited, reveal) {
  const text = summary(found);
  const rejected = text.startsWith("This edit would be rejected");
  const heading = h("h3", { tabindex: "-1", class: rejected ? "outcome bad" : "outcome good" }, text);
  const omitted = omittedLine(found);
  const element = h("div", { class: "report" },
    heading,
    compiles(found)
      ? [
        cells("Opens", "opens", changes(found, "allow", titles), "It opens no permission."),
        cells("Closes", "closes", changes(found, "deny", titles), "It closes no permission."),
        needs(needChanges(found, titles)),
        routes(found, titles),
        failed(found, titles, edited, reveal),
      ]
      : h("p", null, "What it opens and closes is known once the files have no such error."),
    diagnostics(findings(found), edited, reveal),
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
 * @param {Titles} titles
 * @param {string[]} edited
 * @param {(file: string, line: number) => void} reveal
 */
function failed(found, titles, edited, reveal) {
  const { passed, failed: lines } = found.expectations;
  return part("Failed expectations", lines.length, lines.length === 0
    ? h("p", { class: "soft" }, `All ${passed} expectations hold.`)
    : h("ul", { class: "changes" }, lines.map((one) =>
      h("li", null, failedLine(one, titles), h("span", { class: "people" }, remedy(found, one).map((part) =>
        typeof part === "string" ? part : lineOf(part, `line ${part.line} of ${part.file}`, edited, reveal)))))));
}

/**
 * @param {Diagnostic[]} found
 * @param {string[]} edited
 * @param {(file: string, line: number) => void} reveal
 */
function diagnostics(found, edited, reveal) {
  if (found.length === 0) {
    return part("Diagnostics", 0, h("p", { class: "soft" }, "There are no errors and no warnings."));
  }
  /** @type {import("./table.js").Column<Diagnostic>[]} */
  const columns = [
    { title: "Place", cell: (one) => place(one, edited, reveal) },
    { title: "Severity", cell: (one) =>
      h("span", { class: one.severity === "error" ? "badge bad" : "badge warn" }, one.severity) },
    { title: "Finding", cell: (one) => [one.message, one.hint ? h("p", { class: "soft" }, one.hint) : null] },
    { title: "Code", cell: (one) => h("code", null, one.code) },
  ];
  return part("Diagnostics", found.length, table("Diagnostics", columns, found));
}

/**
 * @param {Diagnostic} one
 * @param {string[]} edited
 * @param {(file: string, line: number) => void} reveal
 */
function place(one, edited, reveal) {
  const name = one.file.split("/").pop() ?? one.file;
  const text = `${name}, line ${one.line}, column ${one.column}`;
  return lineOf({ file: name, line: one.line }, text, edited, reveal);
}

/**
 * Return a button that selects the line, or the text alone if its file is not in the edit.
 * @param {{file: string, line: number}} at
 * @param {string} text
 * @param {string[]} edited
 * @param {(file: string, line: number) => void} reveal
 */
function lineOf({ file, line }, text, edited, reveal) {
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
