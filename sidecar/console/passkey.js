// @ts-check
/** Passkeys of this browser: a new one, and a signature of a known one. */

import { Problem } from "./api.js";

/** Return true if the browser can use passkeys at this address. It refuses IP addresses. */
export function passkeysHere() {
  return typeof PublicKeyCredential === "function" && "parseRequestOptionsFromJSON" in PublicKeyCredential
    && !/^[\d.]+$|^\[/.test(location.hostname);
}

/**
 * Return the JSON of a signature by one of the reader's passkeys. Throws Problem.
 * @param {any} options of the API
 * @returns {Promise<unknown>}
 */
export function signature(options) {
  return asked(() => navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) }));
}

/**
 * Return the JSON of a new passkey. Throws Problem.
 * @param {any} options of the API
 * @returns {Promise<unknown>}
 */
export function newPasskey(options) {
  return asked(() => navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) }));
}

/** @type {Record<string, string>} */
const REFUSALS = {
  NotAllowedError: "no passkey was used: it was cancelled, took too long, or this device has none for this site",
  InvalidStateError: "this device has a passkey of yours already",
  SecurityError: "the browser refuses passkeys at this address",
  NotSupportedError: "this device cannot make a passkey of the kind that is needed",
};

/**
 * @param {() => Promise<Credential | null>} ask
 * @returns {Promise<unknown>}
 */
async function asked(ask) {
  if (!passkeysHere()) throw refusal("this browser cannot use passkeys here");
  try {
    const found = await ask();
    if (found instanceof PublicKeyCredential) return found.toJSON();
  } catch (error) {
    const name = error instanceof DOMException ? error.name : "";
    throw refusal(REFUSALS[name] ?? "the passkey could not be used");
  }
  throw refusal("no passkey was used");
}

/** @param {string} words */
function refusal(words) {
  return new Problem(0, "passkey_refused", words);
}
