// @ts-check
/** The heading of a page that stands alone. */

/**
 * Set the heading and the title of the page.
 * @param {string} text
 */
export function headed(text) {
  const heading = document.querySelector("h1");
  if (heading) heading.textContent = text;
  document.title = text;
}
