// @ts-check
/** Modal dialogs: focus goes in and back to the opener, Escape closes, the heading is the name. */

import { hideBanner } from "./banner.js";
import { focusHeading, h, newId, status } from "./dom.js";
import { connect } from "./form.js";

/**
 * An open dialog. `closed` is fulfilled when it is gone.
 * @typedef {{element: HTMLDialogElement, close: () => void, closed: Promise<void>}} OpenDialog
 */

/**
 * Open a modal dialog.
 * @param {object} options
 * @param {string} options.title the h2, and the dialog's name
 * @param {import("./dom.js").Child} options.body
 * @param {Element | null} [options.opener] gets the focus back; by default the element that has it now
 * @param {HTMLElement | null} [options.focus] gets the focus; by default the first control of the body
 * @param {boolean} [options.wide]
 * @returns {OpenDialog}
 */
export function openDialog({ title, body, opener = document.activeElement, focus = null, wide = false }) {
  const id = newId("dialog");
  const element = h(
    "dialog",
    { "aria-labelledby": id, class: wide ? "wide" : null },
    h("h2", { id, tabindex: "-1" }, title),
    h("div", { "data-banner": true }),
    h("div", { class: "dialog-body" }, body),
    h("p", { role: "status", class: "dialog-status" }),
  );
  const closed = new Promise((/** @type {(value: void) => void} */ resolve) => {
    element.addEventListener("close", () => {
      hideBannerOf(element);
      element.remove();
      successor(opener)?.focus();
      if (document.activeElement === document.body) focusHeading();
      resolve();
    });
  });
  status("");
  document.body.append(element);
  element.showModal();
  (focus ?? firstControl(element))?.focus();
  return { element, close: () => element.close(), closed };
}

/**
 * Return the opener, or the control of the same name in a list that was drawn again.
 * @param {Element | null} opener
 * @returns {HTMLElement | null}
 */
function successor(opener) {
  if (!(opener instanceof HTMLElement)) return null;
  if (opener.isConnected) return opener;
  const name = opener.getAttribute("aria-label");
  return [...document.querySelectorAll("button")].find((one) => name && one.getAttribute("aria-label") === name) ?? null;
}

/**
 * Ask before a change. The focus starts on "Cancel". A refusal stays in the dialog, in the API's words.
 * @param {object} options
 * @param {string} options.title for example "Remove Bob"
 * @param {import("./dom.js").Child} options.body what happens, in words
 * @param {string} [options.verb] the button's text, by default the title
 * @param {Element | null} [options.opener]
 * @param {() => Promise<void>} options.act sends the change and closes the dialog
 * @param {(problem: import("./api.js").Problem) => import("./dom.js").Child} [options.explain] more words on a refusal
 * @param {boolean} [options.danger]
 * @returns {OpenDialog}
 */
export function confirmDialog({ title, body, verb = title, opener, act, explain, danger = true }) {
  const cancel = h("button", { type: "button" }, "Cancel");
  const submit = h("button", { type: "submit", class: danger ? "danger" : "primary" }, verb);
  const form = h("form", null, body, h("p", { class: "actions" }, cancel, submit));
  const dialog = openDialog({ title, body: form, focus: cancel, ...(opener === undefined ? {} : { opener }) });
  cancel.addEventListener("click", dialog.close);
  connect(form, { fields: [], send: act, ...(explain ? { explain } : {}) });
  return dialog;
}

/** @param {HTMLDialogElement} element */
function hideBannerOf(element) {
  if (element.querySelector("#banner")) hideBanner();
}

/**
 * @param {HTMLDialogElement} element
 * @returns {HTMLElement | null}
 */
function firstControl(element) {
  const controls = ".dialog-body :is(input, select, textarea, button, a[href]):not([hidden], .visually-hidden)";
  return element.querySelector(controls) ?? element.querySelector("h2");
}
