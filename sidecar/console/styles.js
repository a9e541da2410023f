// @ts-check
/** Style sheets that a page loads when they are first needed. */

import { Problem } from "./api.js";
import { h } from "./dom.js";

/** Style sheets by name. @type {Map<string, Promise<void>>} */
const sheets = new Map();

/**
 * Add a style sheet to the page, once. Throws Problem if it cannot be fetched.
 * @param {string} name
 * @returns {Promise<void>}
 */
export function styles(name) {
  const loading = sheets.get(name) ?? added(name);
  sheets.set(name, loading);
  return loading;
}

/**
 * @param {string} name
 * @returns {Promise<void>}
 */
function added(name) {
  const link = h("link", { rel: "stylesheet", href: `/console/${name}` });
  document.head.append(link);
  return new Promise((resolve, reject) => {
    link.addEventListener("load", () => resolve());
    link.addEventListener("error", () => {
      link.remove();
      sheets.delete(name);
      reject(new Problem(0, "unreachable", "the sidecar cannot be reached"));
    });
  });
}
