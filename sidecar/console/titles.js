// @ts-check
// Titles of roles, sections and actions by their ids. An undeclared id is shown in words. Pure.

/** @typedef {(role: string) => string} TitleOf */

/**
 * Titles of a policy.
 * @typedef {object} Titles
 * @property {TitleOf} role
 * @property {(section: string) => string} section
 * @property {(section: string, action: string) => string} action
 * @property {TitleOf} condition
 */

/**
 * Return an id as a title: `change-plan` → `Change plan`.
 * @param {unknown} id
 * @returns {string}
 */
export function inWords(id) {
  const words = String(id ?? "").replaceAll("-", " ") || "(unknown)";
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/**
 * Return the title with its article: `an Accountant`, `a Marketer`, `a User`.
 * @param {string} title
 * @returns {string}
 */
export function withArticle(title) {
  return `${/^(?!eu|one|uni|us[aeiu])[aeiou]/i.test(title) ? "an" : "a"} ${title}`;
}

/**
 * Return a number with its noun: `1 seat`, `5 seats`.
 * @param {unknown} number
 * @param {string} noun
 * @returns {string}
 */
export function count(number, noun) {
  return `${number ?? "some"} ${noun}${Number(number) === 1 ? "" : "s"}`;
}

/**
 * Return the function from a role's id to its title.
 * @param {{id: string, title: string}[]} roles
 * @returns {TitleOf}
 */
export function roleTitles(roles) {
  const known = new Map(roles.map((role) => [role.id, role.title]));
  return (id) => known.get(id) ?? inWords(id);
}

/**
 * Return the titles of a policy. `permissions` are those of `/v1/me/permissions`, which hold the titles of all actions.
 * @param {{id: string, title: string}[]} roles
 * @param {{id: string, title: string}[]} sections
 * @param {{section: string, action: string, action_title?: string}[]} permissions
 * @param {{name: string, title: string}[]} [conditions] of the matrix, if some cell needs one
 * @returns {Titles}
 */
export function policyTitles(roles, sections, permissions, conditions = []) {
  const known = new Map(sections.map((section) => [section.id, section.title]));
  const actions = new Map(permissions.map((one) => [`${one.section}/${one.action}`, one.action_title]));
  return {
    role: roleTitles(roles),
    section: (id) => known.get(id) ?? inWords(id),
    condition: roleTitles(conditions.map(({ name, title }) => ({ id: name, title }))),
    action: (section, id) => actions.get(`${section}/${id}`) ?? inWords(id),
  };
}
