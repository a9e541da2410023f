// @ts-check
/** A menu button: arrow keys, Home, End, Escape; the focus goes back to the button. */

import { h, newId } from "./dom.js";

/**
 * An entry: a link (`href`) or a command (`act`, called with the menu button). `note`: text that is no command.
 * @typedef {{title: string, href?: string, act?: (opener: HTMLButtonElement) => void, danger?: boolean, note?: boolean}} Item
 */

/**
 * Create a button that opens a menu.
 * @param {object} options
 * @param {import("./dom.js").Child} options.label what the button shows
 * @param {string} [options.name] accessible name, if it is not the label
 * @param {string} [options.className]
 * @param {() => Item[]} options.items read at each opening
 * @returns {HTMLElement}
 */
export function menuButton({ label, name, className = "", items }) {
  const id = newId("menu");
  const menu = h("div", { id, role: "menu", class: "menu", popover: "auto" });
  const button = h(
    "button",
    {
      type: "button", class: className, "aria-haspopup": "menu", "aria-expanded": "false", "aria-controls": id,
      "aria-label": name,
    },
    label,
  );
  menu.setAttribute("aria-label", name ?? button.textContent ?? "");
  const open = () => {
    menu.replaceChildren(...items().map((item) => entry(item, button, menu)));
    menu.showPopover();
    settle(button, menu);
    focusEntry(menu, entries(menu)[0]);
  };
  button.addEventListener("click", () => (menu.matches(":popover-open") ? menu.hidePopover() : open()));
  button.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    open();
    if (event.key === "ArrowUp") focusEntry(menu, entries(menu).at(-1));
  });
  menu.addEventListener("toggle", (event) => {
    const shown = /** @type {ToggleEvent} */ (event).newState === "open";
    button.setAttribute("aria-expanded", String(shown));
  });
  menu.addEventListener("keydown", (event) => steer(event, button, menu));
  return h("div", { class: "menu-place" }, button, menu);
}

/**
 * @param {Item} item
 * @param {HTMLButtonElement} button
 * @param {HTMLElement} menu
 */
function entry(item, button, menu) {
  if (item.note) return h("p", { role: "menuitem", "aria-disabled": "true", tabindex: "-1", class: "note" }, item.title);
  if (item.href) return h("a", { role: "menuitem", tabindex: "-1", href: item.href }, item.title);
  const act = () => {
    menu.hidePopover();
    button.focus();
    item.act?.(button);
  };
  const attributes = { type: "button", role: "menuitem", tabindex: "-1", class: item.danger ? "danger" : null, onclick: act };
  return h("button", attributes, item.title);
}

/**
 * @param {HTMLElement} menu
 * @returns {HTMLElement[]}
 */
function entries(menu) {
  return [...menu.querySelectorAll("[role=menuitem]")].filter((one) => one instanceof HTMLElement);
}

/**
 * Give one entry the focus; it alone is in the tab order.
 * @param {HTMLElement} menu
 * @param {HTMLElement | undefined} next
 */
function focusEntry(menu, next) {
  if (!next) return;
  for (const one of entries(menu)) one.tabIndex = one === next ? 0 : -1;
  next.focus();
}

/**
 * @param {KeyboardEvent} event
 * @param {HTMLButtonElement} button
 * @param {HTMLElement} menu
 */
function steer(event, button, menu) {
  const all = entries(menu);
  const at = all.findIndex((one) => one === document.activeElement);
  const last = all.length - 1;
  /** @type {Record<string, number>} */
  const to = { ArrowDown: at === last ? 0 : at + 1, ArrowUp: at <= 0 ? last : at - 1, Home: 0, End: last };
  const next = to[event.key];
  if (next !== undefined) {
    event.preventDefault();
    focusEntry(menu, all[next]);
  } else if (event.key === "Escape" || event.key === "Tab") {
    if (event.key === "Escape") event.preventDefault();
    menu.hidePopover();
    button.focus();
  } else if (event.key.length === 1) {
    const typed = event.key.toLowerCase();
    const order = [...all.slice(at + 1), ...all.slice(0, at + 1)];
    focusEntry(menu, order.find((one) => one.textContent?.toLowerCase().startsWith(typed)));
  }
}

/**
 * Place the open menu below its button, within the window.
 * @param {HTMLElement} button
 * @param {HTMLElement} menu
 */
function settle(button, menu) {
  const at = button.getBoundingClientRect();
  const gap = 4;
  const below = at.bottom + gap + menu.offsetHeight <= innerHeight;
  const left = Math.min(Math.max(gap, at.right - menu.offsetWidth), innerWidth - menu.offsetWidth - gap);
  menu.style.left = `${Math.max(gap, left)}px`;
  menu.style.top = `${Math.max(gap, below ? at.bottom + gap : at.top - gap - menu.offsetHeight)}px`;
}
