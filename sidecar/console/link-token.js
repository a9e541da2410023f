// @ts-check
/** The token behind `#` of a link. It leaves the address bar at once. */

import { hideBanner } from "./banner.js";
import { byId, fill, h } from "./dom.js";
import { headed } from "./heading.js";

/**
 * Call `open` with the token of the link, and again for each further link that is opened in this tab.
 *
 * Without a token, also after a reload, nothing is known of the link: the page asks for it again.
 * @param {string} title the h1 while the page is about this link
 * @param {(token: string) => void} open
 */
export function onToken(title, open) {
  const take = () => {
    const token = location.hash.slice(1);
    history.replaceState(null, "", location.pathname);
    if (!token) return false;
    hideBanner();
    headed(title);
    open(token);
    return true;
  };
  addEventListener("hashchange", take);
  if (!take()) fill(byId("content"), h("p", null, "Open the link again, copied completely."));
}
