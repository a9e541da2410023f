// @ts-check
/** The details of one row of the audit: before and after, and where the change came from. */

import { differences } from "./differences.js";
import { h } from "./dom.js";

/** @typedef {import("./sentences.js").Row} Row */

/**
 * Return the details of a row: before and after, and where the change came from.
 * @param {Row} row
 * @returns {HTMLElement[]}
 */
export function more(row) {
  const found = differences(row);
  const facts = h("dl", { class: "facts" },
    fact("Action", row.action), fact("Changed by", row.actor), fact("About", row.target),
    fact("Address", row.address), fact("Request", row.request_id));
  return found.length > 0 ? [table(row, found), facts] : [facts];
}

/**
 * @param {Row} row
 * @param {ReturnType<typeof differences>} found
 */
function table(row, found) {
  const heads = ["Field", "Before", "After"].map((title) => h("th", { role: "columnheader", scope: "col" }, title));
  return h("table", { role: "table", class: "change", "aria-label": `Before and after of ${row.seq === null ? "the policy" : `row ${row.seq}`}` },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)),
    h("tbody", { role: "rowgroup" }, found.map((one) =>
      h("tr", { role: "row", class: one.differs ? null : "same" },
        h("th", { role: "rowheader", scope: "row" }, one.name),
        h("td", { role: "cell", "data-label": "Before" }, marked(one.before, one.differs && "del")),
        h("td", { role: "cell", "data-label": "After" }, marked(one.after, one.differs && "ins"))))));
}

/**
 * @param {string} text
 * @param {"del" | "ins" | false} tag
 */
function marked(text, tag) {
  return h("div", null, text && tag ? h(tag, null, text) : text || "–");
}

/**
 * @param {string} name
 * @param {string | null} value
 */
function fact(name, value) {
  return value ? [h("dt", null, name), h("dd", { class: "mono" }, value)] : null;
}
