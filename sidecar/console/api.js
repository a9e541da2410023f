// @ts-check
/** Calls of the sidecar's API: same origin, cookies alone. No token is ever in JavaScript. */

/**
 * Options of a call.
 * @typedef {object} CallOptions
 * @property {boolean} [anonymous] a 401 is an answer of the call itself: no refresh, no way to the sign-in page
 * @property {boolean} [quiet] "step_up_required" is an answer of the call itself: no dialog
 * @property {Record<string, string>} [headers] further headers
 */

/**
 * A response: status, headers, and the JSON of the body (null if there is none).
 * @typedef {{status: number, headers: Headers, body: any}} Answer
 */

/** A refusal by the API (RFC 9457), or no usable answer at all: then `code` is "unreachable". */
export class Problem extends Error {
  /**
   * @param {number} status 0 without a response
   * @param {string} code stable code of the API, for example "seat_limit"
   * @param {string} detail the API's words
   * @param {any} body the whole problem
   * @param {number | null} retryAfter seconds
   */
  constructor(status, code, detail, body = {}, retryAfter = null) {
    super(detail);
    this.name = "Problem";
    this.status = status;
    this.code = code;
    this.detail = detail;
    this.body = body;
    this.retryAfter = retryAfter;
  }

  /** True if there is no session (any more). A wrong code or password is a 401 too, with a code of its own. */
  get unauthenticated() {
    return this.code === "unauthenticated";
  }

  /** True if the same call may succeed later without a change: no store, no policy, a full queue, no connection. */
  get outage() {
    return this.code === "unreachable" || this.status >= 500;
  }
}

/**
 * Return the JSON object of `GET path`. Throws Problem.
 * @param {string} path
 * @param {CallOptions} [options]
 * @returns {Promise<any>}
 */
export async function get(path, options) {
  const { status, body } = await exchange("GET", path, undefined, options);
  if (body === null || typeof body !== "object" || Array.isArray(body)) throw unreachable(status);
  return body;
}

/**
 * Send a change, return the JSON of the response (null for 204). Throws Problem.
 * @param {"POST" | "PUT" | "PATCH" | "DELETE"} method
 * @param {string} path
 * @param {unknown} [body] sent as JSON
 * @param {CallOptions} [options]
 * @returns {Promise<any>}
 */
export async function send(method, path, body, options) {
  return (await exchange(method, path, body, options)).body;
}

/** True once a call of this page was allowed: a later 401 means that the session has ended. */
let signedIn = false;

/**
 * Send a request, return status, headers and body. Throws Problem.
 *
 * "step_up_required" opens a dialog. The call is repeated after each proof, until the proofs suffice or are declined.
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {CallOptions} [options]
 * @returns {Promise<Answer>}
 */
export async function exchange(method, path, body, options = {}) {
  for (let again = false; ; again = true) {
    try {
      return await renewing(method, path, body, options);
    } catch (problem) {
      const proof = problem instanceof Problem && problem.code === "step_up_required";
      if (!proof || options.anonymous || options.quiet) throw problem;
      if (await prove(problem.body, again)) continue;
      throw new Problem(problem.status, problem.code, "this needs a proof that it is you", problem.body);
    }
  }
}

/**
 * Ask in a dialog for a proof that it is still the same person. Return false if it was declined. Throws Problem.
 * @param {{unmet?: string[], enrol?: string[], max_age?: number}} asked as in a problem "step_up_required"
 * @param {boolean} [again] an earlier proof was not enough
 * @returns {Promise<boolean>}
 */
export async function prove(asked, again = false) {
  const { stepUp } = await dialog().catch(() => {
    throw unreachable(0);
  });
  return stepUp(asked, again);
}

const dialog = () => import("./step-up-dialog.js");

/**
 * Send a request. A 401 without a session renews it once and repeats the call.
 *
 * If that fails, the browser goes to the sign-in page and the promise stays pending: a page that is left draws
 * nothing more.
 * @param {string} method
 * @param {string} path
 * @param {unknown} body
 * @param {CallOptions} options
 * @returns {Promise<Answer>}
 */
async function renewing(method, path, body, options) {
  try {
    const answer = await attempt(method, path, body, options);
    signedIn ||= !options.anonymous;
    return answer;
  } catch (problem) {
    if (!(problem instanceof Problem) || !problem.unauthenticated || options.anonymous) throw problem;
  }
  if (await renew()) {
    try {
      return await attempt(method, path, body, options);
    } catch (problem) {
      if (!(problem instanceof Problem) || !problem.unauthenticated) throw problem;
    }
  }
  location.assign(`/console/sign-in?${signedIn ? "done=ended&" : ""}rd=${location.pathname}${location.search}`);
  return new Promise(() => undefined);
}

/**
 * Return the signed-in user, or null. Renews the session if that is possible. Throws Problem.
 * @returns {Promise<any>}
 */
export async function whoAmI() {
  for (const again of [renew, async () => false]) {
    try {
      return (await attempt("GET", "/v1/me", undefined, {})).body;
    } catch (problem) {
      if (!(problem instanceof Problem) || problem.status !== 401) throw problem;
    }
    if (!(await again())) return null;
  }
  return null;
}

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} body
 * @param {CallOptions} options
 * @returns {Promise<Answer>}
 */
async function attempt(method, path, body, options) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json", ...options.headers };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response, text;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
    });
    text = await response.text();
  } catch {
    throw unreachable(0);
  }
  const json = parsed(text);
  if (response.ok && json !== undefined) return { status: response.status, headers: response.headers, body: json };
  if (json === null || typeof json !== "object" || typeof json.code !== "string") throw unreachable(response.status);
  const after = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  const detail = typeof json.detail === "string" ? json.detail : json.code;
  throw new Problem(response.status, json.code, detail, json, Number.isNaN(after) ? null : after);
}

/** @param {number} status */
function unreachable(status) {
  return new Problem(status, status === 401 ? "unauthenticated" : "unreachable", "the sidecar cannot be reached");
}

/**
 * Return the JSON of a body, null for none, undefined for nonsense.
 * @param {string} text
 * @returns {any}
 */
function parsed(text) {
  if (text === "") return null;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const LOCK = "sidecar-session-refresh";

/** @type {Promise<boolean> | null} */
let renewal = null;

/**
 * Renew the session: one request for all calls of this page, and one at a time over all tabs.
 *
 * Returns true if the calls may be repeated, also because another tab has renewed meanwhile.
 * @returns {Promise<boolean>}
 */
function renew() {
  renewal ??= overAllTabs().finally(() => {
    renewal = null;
  });
  return renewal;
}

/** @returns {Promise<boolean>} */
async function overAllTabs() {
  const locks = navigator.locks; // absent outside secure contexts
  if (!locks) return refresh();
  const own = await locks.request(LOCK, { ifAvailable: true }, (lock) => (lock ? refresh() : null));
  return own ?? (await locks.request(LOCK, async () => (await probe()) || (await refresh())));
}

/** Return true if the tab that held the lock has renewed the session. */
async function probe() {
  return (await fetch("/v1/me", { cache: "no-store" }).catch(() => null))?.ok ?? false;
}

/** @returns {Promise<boolean>} */
async function refresh() {
  try {
    await attempt("POST", "/v1/session/refresh", undefined, {});
    return true;
  } catch (problem) {
    if (problem instanceof Problem && problem.status === 401) return false;
    throw problem;
  }
}
