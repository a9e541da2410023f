// @ts-check
/** The page Users. */

import { get } from "./api.js";
import { h, time } from "./dom.js";
import { start } from "./shell.js";
import { table } from "./table.js";

/**
 * @typedef {{id: string, name: string, email: string, role: string, status: string, last_login_at: string | null}} Member
 */

start({
  title: "Users",
  needs: { section: "users", action: "view" },
  load: () => get("/v1/users"),
  draw: (main, _session, data) => {
    /** @type {import("./table.js").Column<Member>[]} */
    const columns = [
      { title: "Name", cell: (one) => one.name },
      { title: "E-mail", cell: (one) => one.email },
      { title: "Role", cell: (one) => one.role },
      { title: "Last sign-in", cell: (one) => (one.last_login_at ? time(one.last_login_at, "ago") : "never") },
    ];
    main.append(h("div", { class: "table-card" }, table("Users", columns, data.users)));
  },
});
