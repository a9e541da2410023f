// @ts-check
/** Modal dialogs: focus goes in and back to the opener, Escape closes, the heading is the name. */

import { hideBanner } from "./banner.js";
import { h, newId } from "./dom.js";

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
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
      resolve();
    });
  });
  document.body.append(element);
  element.showModal();
  (focus ?? firstControl(element))?.focus();
  return { element, close: () => element.close(), closed };
}

/**
 * Ask before something that cannot be undone. The focus starts on "Cancel".
 * @param {object} options
 * @param {string} options.title for example "Remove Bob"
 * @param {import("./dom.js").Child} options.body what happens, in words
 * @param {string} [options.verb] the button's text, by default the title
 * @param {Element | null} [options.opener]
 * @param {(problem: (text: string) => void) => Promise<void>} options.act sends the change; a Problem stays in the dialog
 * @param {boolean} [options.danger]
 * @returns {OpenDialog}
 */
export function confirmDialog({ title, body, verb = title, opener, act, danger = true }) {
  const error = h("p", { class: "form-error", role: "alert", hidden: true });
  const cancel = h("button", { type: "button" }, "Cancel");
  const submit = h("button", { type: "submit", class: danger ? "danger" : "primary" }, verb);
  const form = h("form", { novalidate: true }, error, body, h("p", { class: "actions" }, cancel, submit));
  const dialog = openDialog({ title, body: form, focus: cancel, ...(opener === undefined ? {} : { opener }) });
  cancel.addEventListener("click", dialog.close);
  /** @param {string} text */
  const refuse = (text) => {
    error.textContent = text;
    error.hidden = text === "";
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.getAttribute("aria-busy") === "true") return;
    refuse("");
    form.setAttribute("aria-busy", "true");
    submit.setAttribute("aria-disabled", "true");
    try {
      await act(refuse);
    } finally {
      form.removeAttribute("aria-busy");
      submit.removeAttribute("aria-disabled");
    }
  });
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
