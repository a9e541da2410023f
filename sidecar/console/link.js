// @ts-check
/** A link that is shown once, with "Copy link". */

import { h, newId, status, time } from "./dom.js";

/**
 * Create the box of a link.
 * @param {object} options
 * @param {string} options.label
 * @param {string} options.url
 * @param {string} options.expiresAt RFC 3339
 * @returns {HTMLElement}
 */
export function linkBox({ label, url, expiresAt }) {
  const id = newId("link");
  const input = h("input", { id, type: "text", readonly: true, value: url, class: "mono", "aria-describedby": `${id}-hint` });
  input.addEventListener("focus", () => input.select());
  const copy = h("button", { type: "button", class: "primary" }, "Copy link");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(url);
      status("The link has been copied.");
    } catch {
      input.focus();
      input.select();
      status("The link is selected: copy it with Ctrl+C or ⌘C.");
    }
  });
  return h("div", { class: "field" },
    h("label", { for: id }, label),
    h("div", { class: "link-box" }, input, copy),
    h("p", { id: `${id}-hint`, class: "hint" }, "It is shown only now. It works once, until ", time(expiresAt), "."));
}
