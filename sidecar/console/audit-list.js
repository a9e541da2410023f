// @ts-check
/** The rows of the audit as sentences, newest first, under one heading per day of the reader. */

import { Problem } from "./api.js";
import { DATES, h, sentence, status, time } from "./dom.js";
import { onDemand } from "./load.js";
import { parts } from "./sentences.js";

/**
 * @typedef {import("./sentences.js").Row} Row
 * @typedef {import("./titles.js").TitleOf} TitleOf
 */

const DAY = new Intl.DateTimeFormat(DATES, { weekday: "long", day: "numeric", month: "long", year: "numeric" });

/** List that grows by older rows. */
export class AuditList {
  /**
   * @param {TitleOf} role
   * @param {TitleOf} section
   */
  constructor(role, section) {
    this.role = role;
    this.section = section;
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
      this.rows.append(this.entry(row));
    }
  }

  /** @param {string} day */
  open(day) {
    this.day = day;
    this.rows = h("ol", { class: "entries", "aria-label": day });
    this.element.append(h("section", { class: "day" }, h("h2", null, day), this.rows));
  }

  /** @param {Row} row */
  entry(row) {
    const details = h("details", null, h("summary", null, label(row)));
    details.addEventListener("toggle", () => void open(details, row));
    return h("li", null,
      time(row.at, "clock"),
      h("p", null, parts(row, this.role, this.section).map((part) =>
        typeof part === "string" ? part
          : "name" in part ? h("bdi", { class: "name" }, part.name) : h("span", { class: "system" }, part.system))),
      details);
  }
}

/** @param {Row} row */
function label(row) {
  return row.seq === null ? "Policy" : `Row ${row.seq}`;
}

/**
 * Fill the details of a row when they are first opened. Without a network they say so, and are read again.
 * @param {HTMLDetailsElement} details
 * @param {Row} row
 */
async function open(details, row) {
  if (!details.open || details.childElementCount > 1) return;
  try {
    const { more } = await onDemand(() => import("./audit-details.js"));
    if (details.childElementCount === 1) details.append(...more(row));
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    details.open = false;
    status(sentence(problem.detail));
  }
}
