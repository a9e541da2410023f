// @ts-check
/** The page Policy: what is in force, who may do what, and what an edit would change. */

import { Problem, get } from "./api.js";
import { persistently } from "./banner.js";
import { h, plural, time } from "./dom.js";
import { onDemand } from "./load.js";
import { permissionsTable } from "./permissions-table.js";
import { start } from "./shell.js";
import { table } from "./table.js";
import { policyTitles } from "./titles.js";
import { tryEdit } from "./try-edit.js";
import { whoMay } from "./who-may.js";

/**
 * @typedef {{id: string, title: string, description: string, assignable: boolean, inherits: string[]}} Role
 * @typedef {{id: string, title: string, actions: string[]}} Section
 * @typedef {{generation: string, loaded_at: string, state: "current" | "rejected",
 *   sidecars?: {in_force: number, live: number}, roles: Role[], sections: Section[]}} Policy
 * @typedef {{generation: string, first_at: string, last_at: string | null, noticed_by: string,
 *   direction: "forward" | "back"}} Generation
 * @typedef {{generations: Generation[], current: string}} Generations
 * @typedef {{id: string, name: string, email: string}} User
 * @typedef {{shadow: import("./being-applied.js").Shadow, view: typeof import("./being-applied.js")}} Candidate
 * @typedef {{policy: Policy, matrix: import("./permission-rows.js").Matrix, generations: Generations | null,
 *   candidate: Candidate | null}} Data
 */

/** @returns {Promise<Data>} */
async function load() {
  const [policy, matrix, generations, candidate] = await Promise.all([
    get("/v1/policy"),
    get("/v1/policy/matrix"),
    optional("/v1/policy/generations"),
    progress(),
  ]);
  return { policy, matrix, generations, candidate };
}

/**
 * Return the candidate that is being applied and the module that shows it, or null.
 * @returns {Promise<Candidate | null>}
 */
async function progress() {
  const shadow = await optional("/v1/policy/shadow");
  return shadow?.candidate ? { shadow, view: await onDemand(() => import("./being-applied.js")) } : null;
}

/**
 * Return what the role may read, null for a role that may not.
 * @param {string} path
 */
async function optional(path) {
  try {
    return await get(path);
  } catch (problem) {
    if (problem instanceof Problem && (problem.status === 403 || problem.status === 404)) return null;
    throw problem;
  }
}

/**
 * Return the facts about the policy in force.
 * @param {Policy} policy
 */
function summary(policy) {
  const rejected = policy.state === "rejected";
  return h("section", { class: "card", "aria-label": "In force" },
    rejected
      ? h("p", { class: "form-error" }, h("strong", null, "The last edit was rejected. "),
        "This generation stays in force. An operator sees the reasons with ",
        h("code", null, "sidecar policy status"), ".")
      : null,
    h("dl", { class: "facts" },
      fact("Generation", h("code", null, policy.generation)),
      fact("In force since", time(policy.loaded_at)),
      fact("State", rejected ? badge("Edit rejected", "bad") : badge("Current")),
      policy.sidecars ? fact("Sidecars", fleet(policy.sidecars)) : null));
}

/** @param {{in_force: number, live: number}} sidecars */
function fleet({ in_force: serving, live }) {
  return `In force on ${serving} of ${plural(live, "sidecar")}`;
}

/**
 * @param {string} name
 * @param {import("./dom.js").Child} value
 */
function fact(name, value) {
  return [h("dt", null, name), h("dd", null, value)];
}

/** @type {Record<string, string>} */
const NOTICED = { start: "A sidecar that started", edit: "A sidecar that read an edit" };

/** @param {Generations} generations */
function history({ generations, current }) {
  /** @type {import("./table.js").Column<Generation>[]} */
  const columns = [
    {
      title: "Generation",
      cell: (one) => [h("code", null, one.generation), " ", one.generation === current && badge("In force"),
        one.direction === "back" && h("span", { class: "soft small" }, " an earlier generation again")],
    },
    { title: "First in force", cell: (one) => time(one.first_at) },
    { title: "Last in force", cell: (one) => (one.last_at ? time(one.last_at) : "until now") },
    { title: "Noticed by", cell: (one) => NOTICED[one.noticed_by] ?? one.noticed_by },
  ];
  return h("section", { class: "stack", "aria-labelledby": "generations" },
    h("h2", { id: "generations" }, "Generations so far"),
    h("div", { class: "table-card" }, table("Generations so far", columns, generations)));
}

/**
 * @param {string} text
 * @param {"good" | "bad"} kind
 */
function badge(text, kind = "good") {
  return h("span", { class: `badge ${kind}` }, text);
}

start({
  title: "Policy",
  needs: { section: "policy", action: "view" },
  load,
  draw: (main, session, data) => {
    const { roles, sections } = data.policy;
    const titles = policyTitles(roles, sections, session.permissions.permissions, data.matrix.conditions);
    const question = whoMay(data.policy, titles);
    /** @type {Promise<User[]> | null} */
    const people = session.can("users", "view") ? persistently(() => get("/v1/users")).then(({ users }) => users) : null;
    void people?.then(question.people);
    main.append(
      summary(data.policy),
      data.candidate?.view.beingApplied(data.candidate.shadow, titles, people) ?? "",
      permissionsTable(data.policy, data.matrix.cells, titles),
      question.element,
      session.can("policy", "preview") ? tryEdit(data.matrix, titles) : "",
      data.generations?.generations.length ? history(data.generations) : "",
    );
  },
});
