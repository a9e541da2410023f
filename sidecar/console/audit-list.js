// @ts-check
/** The rows of the audit as sentences, newest first, under one heading per day of the reader. */

import { h } from "./dom.js";
import { differences, parts } from "./sentences.js";

/**
 * @typedef {import("./sentences.js").Row} Row
 * @typedef {import("./titles.js").TitleOf} TitleOf
 */

/** The reader's own kind of English; other readers get day, month, year. */
const DATES = /^en\b/.test(navigator.language) ? navigator.language : "en-GB";
const DAY = new Intl.DateTimeFormat(DATES, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const CLOCK = new Intl.DateTimeFormat(DATES, { hour: "numeric", minute: "2-digit" });
const EXACT = new Intl.DateTimeFormat(DATES, { dateStyle: "full", timeStyle: "long" });

/** List that grows by older rows. */
export class AuditList {
  /** @param {TitleOf} role */
  constructor(role) {
    this.role = role;
    this.element = h("div", { class: "days" });
    this.day = "";
    this.rows = h("ol");
  }

  clear() {
    this.day = "";
    this.element.replaceChildren();
  }

  /**
   * Append rows that are older than those shown.
   * @param {Row[]} entries
   */
  append(entries) {
    for (const row of entries) {
      const at = new Date(row.at);
      const day = Number.isNaN(at.getTime()) ? "" : DAY.format(at);
      if (day !== this.day || !this.element.hasChildNodes()) this.open(day);
      this.rows.append(this.entry(row, at));
    }
  }

  /** @param {string} day */
  open(day) {
    this.day = day;
    this.rows = h("ol", { class: "entries", "aria-label": day });
    this.element.append(h("section", { class: "day" }, h("h2", null, day), this.rows));
  }

  /**
   * @param {Row} row
   * @param {Date} at
   */
  entry(row, at) {
    const known = !Number.isNaN(at.getTime());
    const details = h("details", null, h("summary", null, `Row ${row.seq}`));
    details.addEventListener("toggle", () => {
      if (details.open && details.childElementCount === 1) details.append(...more(row));
    });
    return h("li", null,
      known ? h("time", { datetime: row.at, title: EXACT.format(at) }, CLOCK.format(at)) : h("span", null, row.at),
      h("p", null, parts(row, this.role).map((part) =>
        typeof part === "string" ? part : h("bdi", { class: "name" }, part.name))),
      details);
  }
}

/**
 * Return the details of a row: before and after, and where the change came from.
 * @param {Row} row
 * @returns {HTMLElement[]}
 */
function more(row) {
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
  return h("table", { role: "table", class: "change", "aria-label": `Before and after of row ${row.seq}` },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)),
    h("tbody", { role: "rowgroup" }, found.map((one) =>
      h("tr", { role: "row", class: one.differs ? null : "same" },
        h("th", { role: "rowheader", scope: "row" }, one.name),
        h("td", { role: "cell", "data-label": "Before" }, value(one.before, one.differs && "del")),
        h("td", { role: "cell", "data-label": "After" }, value(one.after, one.differs && "ins"))))));
}

/**
 * @param {string} text
 * @param {"del" | "ins" | false} tag
 */
function value(text, tag) {
  return h("div", null, text && tag ? h(tag, null, text) : text || "–");
}

/**
 * @param {string} name
 * @param {string | null} value
 */
function fact(name, value) {
  return value ? [h("dt", null, name), h("dd", { class: "mono" }, value)] : null;
}
