// @ts-check
/** Modules that a page loads when they are first needed, so that it opens with fewer bytes. */

import { Problem } from "./api.js";

/**
 * Return what `load` imports. Throws Problem if the module cannot be fetched.
 * @template T
 * @param {() => Promise<T>} load
 * @returns {Promise<T>}
 */
export async function onDemand(load) {
  try {
    return await load();
  } catch (problem) {
    if (!(problem instanceof TypeError)) throw problem;
    throw new Problem(0, "unreachable", "the sidecar cannot be reached");
  }
}
