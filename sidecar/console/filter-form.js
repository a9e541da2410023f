// @ts-check
/** The form of the audit's filters. */

import { fill, h, newId } from "./dom.js";
import { labelled, selectField } from "./fields.js";
import { none } from "./filters.js";
import { KINDS } from "./sentences.js";

/** @typedef {import("./filters.js").Filters} Filters */

/** The API's word for rows without a user. */
const OPERATOR = "operator";

/** Fields of the filters. They apply together, when the form is submitted. */
export class FilterForm {
  /**
   * @param {Map<string, string>} people names by id
   * @param {(filters: Filters) => void} apply
   */
  constructor(people, apply) {
    this.people = people;
    this.actor = selectField({ label: "Changed by", name: "actor", choices: [] });
    this.target = selectField({ label: "About", name: "target", choices: [] });
    const kinds = Object.entries(KINDS).map(([value, title]) => ({ value, title }));
    const everything = { value: "", title: "Everything" };
    this.action = selectField({ label: "Kind", name: "action", choices: [everything, ...kinds] });
    this.from = day("From");
    this.to = day("To");
    this.element = h("form", { class: "filters card", "aria-label": "Filters" },
      this.actor.element, this.target.element, this.action.element, this.from.element, this.to.element,
      h("p", { class: "actions" },
        h("button", { type: "submit", class: "primary" }, "Filter"),
        h("button", { type: "button", class: "plain", onclick: () => apply(none()) }, "Clear")));
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!this.ordered()) {
        this.from.input.focus();
        return;
      }
      apply({
        actor: this.actor.value(), target: this.target.value(), action: this.action.value(),
        from: this.from.input.value, to: this.to.input.value,
      });
    });
  }

  /** Offer all known people. What is chosen stays. */
  offer() {
    const people = [...this.people].sort(([, one], [, other]) => one.localeCompare(other));
    choose(this.actor.select, [["", "Everybody"], [OPERATOR, "An operator, or the sidecar"]], people);
    choose(this.target.select, [["", "Everybody"]], people);
  }

  /** @param {Filters} filters */
  show(filters) {
    this.offer();
    for (const name of /** @type {const} */ (["actor", "target", "action"])) set(this[name].select, filters[name]);
    this.from.input.value = filters.from;
    this.to.input.value = filters.to;
    this.ordered();
  }

  /**
   * Return true if "From" is not after "To"; set the error at "From" otherwise.
   * @returns {boolean}
   */
  ordered() {
    const [from, to] = [this.from.input.value, this.to.input.value];
    const wrong = from !== "" && to !== "" && from > to;
    this.from.setError(wrong ? "“From” is after “To”. Choose an earlier day." : "");
    return !wrong;
  }
}

/**
 * Replace the choices. What is chosen stays. People have a group of their own, because a name can be any text.
 * @param {HTMLSelectElement} select
 * @param {[string, string][]} choices
 * @param {[string, string][]} people
 */
function choose(select, choices, people) {
  const chosen = select.value;
  /** @param {[string, string][]} some */
  const options = (some) => some.map(([value, title]) => option(value, title));
  fill(select, options(choices), h("optgroup", { label: "People" }, options(people)));
  set(select, chosen);
}

/**
 * Choose a value. One that is not among the choices, as an address may hold, is added.
 * @param {HTMLSelectElement} select
 * @param {string} value
 */
function set(select, value) {
  if (![...select.options].some((one) => one.value === value)) select.append(option(value, value));
  select.value = value;
}

/**
 * @param {string} value
 * @param {string} title
 */
function option(value, title) {
  return h("option", { value }, title);
}

/** @param {string} label */
function day(label) {
  const input = h("input", { type: "date", id: newId("day"), max: "9999-12-31", min: "1970-01-01" });
  return { ...labelled(label, input), input };
}
