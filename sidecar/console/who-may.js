// @ts-check
/** The box "Who may do what?": role or person, section and action; then the answer and its explanation. */

import { get } from "./api.js";
import { fill, h } from "./dom.js";
import { selectField } from "./fields.js";
import { connect } from "./form.js";
import { onDemand } from "./load.js";

/**
 * @typedef {import("./policy.js").Policy} Policy
 * @typedef {import("./policy.js").User} User
 * @typedef {import("./titles.js").Titles} Titles
 */

/**
 * Return the box. `people` adds the people of the account, for a role that may see them.
 * @param {Policy} policy
 * @param {Titles} titles
 * @returns {{element: HTMLElement, people: (users: User[]) => void}}
 */
export function whoMay(policy, titles) {
  const who = selectField({ label: "Role or person", name: "who", choices: [] });
  const roles = policy.roles.map((one) => h("option", { value: `role:${one.id}` }, one.title));
  fill(who.select, h("optgroup", { label: "Roles" }, roles));
  const sections = policy.sections.map((one) => ({ value: one.id, title: one.title }));
  const section = selectField({
    label: "Section", name: "section", choices: sections, chosen: sections[0]?.value ?? "",
  });
  const action = selectField({ label: "Action", name: "action", choices: [] });
  const found = h("div", { "aria-live": "polite" });
  const actions = () => {
    const chosen = policy.sections.find((one) => one.id === section.value());
    fill(action.select, (chosen?.actions ?? []).map((id) =>
      h("option", { value: id }, titles.action(section.value(), id))));
  };
  const form = h("form", { class: "question" },
    who.element, section.element, action.element,
    h("p", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Find out")));
  section.select.addEventListener("change", actions);
  form.addEventListener("change", () => fill(found));
  actions();
  connect(form, {
    fields: [who, section, action],
    send: async () => {
      const [kind, ...rest] = who.value().split(":");
      const query = new URLSearchParams({
        [kind]: rest.join(":"), section: section.value(), action: action.value(),
      });
      const [view, explained] = await Promise.all([
        onDemand(() => import("./explanation-view.js")),
        get(`/v1/policy/explain?${query}`),
      ]);
      fill(found, view.explanation(explained, titles));
    },
  });
  return {
    element: h("section", { class: "card", "aria-labelledby": "who-may" },
      h("h2", { id: "who-may" }, "Who may do what?"), form, found),
    people: (users) => who.select.append(h("optgroup", { label: "People" }, users.map((one) =>
      h("option", { value: `user:${one.id}` }, one.name ? `${one.name} (${one.email})` : one.email)))),
  };
}
