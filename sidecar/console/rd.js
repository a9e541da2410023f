// @ts-check
/** The way back after signing in: `rd` of the sign-in page's address. Pure functions. */

const MAX_LENGTH = 2048;
const NEVER = new Set(["/console/sign-in", "/console/step-up"]);

/**
 * Return `rd` of a query, or null. It is the last parameter.
 *
 * Text that begins with `/` is taken as it is, because nginx cannot escape; other text is percent-decoded once.
 * @param {string} search `location.search`
 * @returns {string | null}
 */
export function rdOf(search) {
  const found = /[?&]rd=/.exec(search);
  if (!found) return null;
  const text = search.slice(found.index + found[0].length);
  if (text.startsWith("/")) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/**
 * Return `done` of a query, or "": why a page of the console leads here. It is the first parameter.
 * @param {string} search `location.search`
 */
export function doneOf(search) {
  return /^\?done=([a-z]+)(?=&rd=|$)/.exec(search)?.[1] ?? "";
}

/**
 * Return `step_up` of a query, or "": the condition that a signed-in user should meet. It stands before `rd`.
 * @param {string} search `location.search`
 */
export function stepUpOf(search) {
  return /[?&]step_up=([a-z0-9-]{1,40})(?=&|$)/.exec(search.replace(/[?&]rd=.*$/s, ""))?.[1] ?? "";
}

/**
 * Return the address to go to after signing in, or null: then the first page that the permissions open.
 * @param {string} search `location.search`
 * @param {string} origin `location.origin`
 * @returns {string | null}
 */
export function destination(search, origin) {
  const rd = rdOf(search);
  if (rd === null || rd.length > MAX_LENGTH || !rd.startsWith("/") || rd.startsWith("//")) return null;
  if (/[\\\u0000-\u001f\u007f-\u009f]/u.test(rd)) return null;
  let url;
  try {
    url = new URL(rd, origin);
  } catch {
    return null;
  }
  if (url.origin !== origin || NEVER.has(plainPath(url.pathname))) return null;
  return url.href;
}

/**
 * Return a path as a server may read it: decoded, without repeated or final slashes.
 * @param {string} path
 */
function plainPath(path) {
  let text = path;
  try {
    text = decodeURIComponent(path);
  } catch {
    // compared as it is
  }
  const segments = new URL(text.replace(/[?#\\]/g, "_").replace(/\/+/g, "/"), "http://localhost").pathname;
  return segments.replace(/\/+$/, "").replace(/\.html$/, "").toLowerCase();
}
