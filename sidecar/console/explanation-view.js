// @ts-check
/** An explanation on the page, or in a dialog. */

import { openDialog } from "./dialog.js";
import { h } from "./dom.js";
import { answer, blocks, cellTitle } from "./explanation.js";
import { verdict } from "./permission-rows.js";

/**
 * @typedef {import("./explanation.js").Explained} Explained
 * @typedef {import("./titles.js").Titles} Titles
 */

/**
 * Return the answer, and each block of the explanation under a heading of this level.
 * @param {Explained} found
 * @param {Titles} titles
 * @param {"h3" | "h4"} level
 * @returns {HTMLElement}
 */
export function explanation(found, titles, level = "h3") {
  const { mark, kind } = verdict(found);
  return h("div", { class: "explanation" },
    h("p", { class: `answer ${kind}` },
      h("span", { class: "mark", "aria-hidden": "true" }, mark), h("strong", null, answer(found, titles))),
    blocks(found, titles).map((block) =>
      h("div", { class: "block" },
        h(level, null, block.label),
        block.sentences.map((text) => h("p", null, text)),
        block.lines.length > 0
          ? h("ul", { class: "lines" }, block.lines.map((line) =>
            h("li", null, h("span", { class: "place" }, line.place), h("code", null, line.text))))
          : null)));
}

/**
 * Show an explanation in a dialog named after role, section and action.
 * @param {Explained} found
 * @param {Titles} titles
 * @param {HTMLElement} opener
 */
export function explainInDialog(found, titles, opener) {
  const close = h("button", { type: "button" }, "Close");
  const dialog = openDialog({
    title: `${titles.role(found.role)} · ${cellTitle(found, titles)}`,
    body: [explanation(found, titles), h("p", { class: "actions" }, close)],
    opener,
    focus: close,
    wide: true,
  });
  close.addEventListener("click", dialog.close);
  dialog.element.querySelector("h2")?.focus(); // the top; in a small window the button is far below
}
