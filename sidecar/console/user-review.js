// @ts-check
/** The dialog that ends the hold of a user: the store lost an acknowledged change, and a person decides what counts. */

import { send } from "./api.js";
import { openDialog } from "./dialog.js";
import { h, time } from "./dom.js";
import { connect } from "./form.js";
import { appointable, done, everywhere, nameOf, path } from "./member.js";
import { radioField } from "./radio-field.js";
import { table } from "./table.js";
import { inWords, roleTitles } from "./titles.js";

/**
 * Offer role and status. Chosen beforehand is what the loss did not change.
 * @param {import("./member.js").Member} member
 * @param {import("./member.js").Context} context
 * @param {HTMLElement} opener
 */
export function review(member, context, opener) {
  const held = member.review;
  if (!held) return;
  const name = nameOf(member);
  const title = roleTitles(context.roles);
  const invited = member.status === "invited";
  const role = radioField({
    legend: "Role", name: "role", chosen: held.role_before === held.role_now ? held.role_now : "",
    choices: context.roles.map((one) => ({ value: one.id, title: one.title, description: one.description })),
  });
  const state = radioField({
    legend: "Status", name: "status", chosen: held.status_before === held.status_now ? held.status_now : "",
    choices: [{ value: "active", title: "Active" }, { value: "suspended", title: "Suspended" }],
  });
  const fields = invited ? [role] : [role, state];
  const cancel = h("button", { type: "button" }, "Cancel");
  const form = h("form", null,
    h("p", null, `The store lost a change of ${name}, noticed `, time(held.since, "ago"),
      `. Until you decide, ${name} cannot sign in and has no access.`),
    table(`Review of ${name}`, [
      { title: "Field", cell: (row) => row.title },
      { title: "Before the loss", cell: (row) => row.before },
      { title: "Now", cell: (row) => row.now },
    ], [
      { title: "Role", before: title(held.role_before), now: title(held.role_now) },
      { title: "Status", before: inWords(held.status_before), now: inWords(held.status_now) },
    ]),
    held.status_before === "removed"
      ? h("p", null, `${name} had been removed. To remove ${name} again, choose “Remove” in the menu instead.`) : null,
    fields.map((one) => one.element),
    h("p", { class: "actions" }, cancel, h("button", { type: "submit", class: "primary" }, `Release ${name}`)));
  const dialog = openDialog({ title: `Review ${name}`, body: form, opener, wide: true, focus: cancel });
  cancel.addEventListener("click", dialog.close);
  connect(form, {
    fields,
    at: { last_admin: role, unknown_role: role, role_above_yours: role },
    explain: (problem) => appointable(problem, context),
    send: async () => {
      const body = { role: role.value(), status: invited ? "active" : state.value() };
      const changed = await send("POST", `${path(member)}/review`, body);
      const words = `${title(changed.role)}, ${changed.status}`;
      await done(dialog, context, `${name} is released: ${words}. ${everywhere(changed.revocation?.complete ?? true)}`);
    },
  });
}
