// @ts-check
/** Recovery codes, shown once, with copy, download and print. */

import { fill, h, status } from "./dom.js";
import { destination } from "./rd.js";

const INTRODUCTION = "Each code signs you in once when you have no phone or passkey at hand. Keep them where nobody else finds them: they are shown only now.";

/**
 * Show the codes in place of the dialog's content. A reader who was led here goes on from here.
 * @param {import("./dialog.js").OpenDialog} dialog
 * @param {string[]} codes
 * @param {string} words what has happened
 */
export function showCodes(dialog, codes, words) {
  const body = dialog.element.querySelector(".dialog-body");
  const heading = dialog.element.querySelector("h2");
  if (!body || !heading) return;
  const rd = destination(location.search, location.origin);
  heading.textContent = "Recovery codes";
  fill(body,
    h("p", null, `${words} ${INTRODUCTION}`),
    h("ol", { class: "codes", "aria-label": "Recovery codes" }, codes.map((code) => h("li", null, h("code", null, code)))),
    h("p", { class: "row" },
      copyButton("Copy", codes.join("\n"), "The codes have been copied."),
      h("button", { type: "button", onclick: () => save(codes) }, "Download"),
      h("button", { type: "button", onclick: () => print() }, "Print")),
    h("p", { class: "actions" },
      rd ? h("a", { class: "button", href: rd }, "Go on to the page that you opened") : null,
      h("button", { type: "button", class: "primary", onclick: dialog.close }, "Done")));
  heading.focus();
}

/**
 * Create a button that copies a text.
 * @param {string} title
 * @param {string} text
 * @param {string} done what is said then
 */
export function copyButton(title, text, done) {
  return h("button", {
    type: "button",
    onclick: () => navigator.clipboard.writeText(text).then(
      () => status(done),
      () => status("The browser does not let this page copy: select the text and copy it yourself.")),
  }, title);
}

/** @param {string[]} codes */
function save(codes) {
  const text = `Recovery codes for ${location.host}\nEach works once.\n\n${codes.join("\n")}\n`;
  const url = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  const link = h("a", { href: url, download: "recovery-codes.txt" });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
