// @ts-check
/** The box "Try an edit": files are dropped, chosen or pasted; the report shows what they would change. */

import { send } from "./api.js";
import { fill, h, newId } from "./dom.js";
import { labelled, selectField } from "./fields.js";
import { connect } from "./form.js";
import { onDemand } from "./load.js";
import { styles } from "./styles.js";

/** @typedef {import("./titles.js").Titles} Titles */

/** Files of a policy, as the API accepts them. */
const FILES = ["policy.csv", "roles.toml", "sections.toml", "expectations.csv", "routes.csv", "conditions.toml", "needs.csv", "model.conf"];
const MOST_BYTES = 1024 * 1024;

/**
 * @param {import("./permission-rows.js").Matrix} matrix of the policy in force
 * @param {Titles} titles
 */
export function tryEdit(matrix, titles) {
  const found = h("div", { class: "stack" });
  /** @type {import("./preview-view.js").Report | null} */
  let shown = null;
  const drafts = new Drafts(() => {
    shown?.outdate();
    shown = null;
  });
  const form = h("form", { class: "stack" },
    drafts.chooser.element,
    drafts.file.element,
    drafts.text.element,
    drafts.list,
    h("p", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Preview this edit")));
  acceptDrops(form, (files) => void drafts.add(files));
  connect(form, {
    fields: [drafts.chooser, drafts.file, drafts.text],
    at: { bad_request: drafts.text, too_large: drafts.text },
    check: () => drafts.check(),
    send: async () => {
      fill(found);
      const { changes } = drafts;
      const [view, body] = await Promise.all([
        onDemand(() => import("./preview-view.js")),
        send("POST", "/v1/policy/preview", { files: drafts.content() }),
        styles("report.css"),
      ]);
      shown = view.report(body, {
        titles,
        matrix: await view.comparedWith(body, matrix),
        edited: drafts.names(),
        reveal: (name, line) => drafts.reveal(name, line),
      });
      fill(found, shown.element);
      if (changes !== drafts.changes) shown.outdate(); // a file was dropped or removed meanwhile
      shown.heading.focus();
    },
  });
  return h("section", { class: "card", "aria-labelledby": "try-an-edit" },
    h("div", { class: "stack" },
      h("h2", { id: "try-an-edit" }, "Try an edit"),
      h("p", { class: "soft" }, "Nothing comes into force. Files that the edit leaves out stay as they are.")),
    form, found);
}

/** The files of the edit by name, with the fields that fill them. */
class Drafts {
  /** @param {() => void} changed runs after each change of the edit */
  constructor(changed) {
    this.changed = changed;
    this.changes = 0;
    /** @type {Map<string, string>} */
    this.texts = new Map();
    /** Files whose text was typed or pasted. @type {Set<string>} */
    this.typed = new Set();
    this.list = h("ul", { class: "files", "aria-label": "Files of this edit", hidden: true });
    this.chooser = chooser((files) => void this.add(files));
    this.file = selectField({
      label: "File", name: "file", choices: FILES.map((name) => ({ value: name, title: name })), chosen: FILES[0],
    });
    this.text = textArea("Its whole text", "Paste the whole file, not only the edited lines.");
    this.file.select.addEventListener("change", () => this.show(this.file.value()));
    this.text.control.addEventListener("input", () => this.set(this.file.value(), this.text.value(), true));
  }

  names() {
    return [...this.texts.keys()];
  }

  /** Return the files as they are sent: typed text ends with a newline, a chosen file stays as it is. */
  content() {
    return Object.fromEntries([...this.texts].map(([name, text]) =>
      [name, this.typed.has(name) && !text.endsWith("\n") ? `${text}\n` : text]));
  }

  /**
   * Return true if there is an edit of a permitted size; set the error beside the text otherwise.
   * @returns {boolean}
   */
  check() {
    const bytes = [...this.texts.values()].reduce((sum, text) => sum + new TextEncoder().encode(text).length, 0);
    if (this.texts.size === 0) this.text.setError("Drop, choose or paste at least one file.");
    if (bytes > MOST_BYTES) this.text.setError("The files are larger than 1 MiB together. Use sidecar policy diff.");
    return this.texts.size > 0 && bytes <= MOST_BYTES;
  }

  /**
   * Add files by their names. Files of other names, and those that are not UTF-8, are named beside the field.
   * @param {Iterable<File>} files
   */
  async add(files) {
    const problems = [];
    let last = null;
    for (const file of files) {
      const text = FILES.includes(file.name) && file.size <= MOST_BYTES ? await utf8(file) : null;
      if (!FILES.includes(file.name)) problems.push(`“${file.name}” is no file of a policy.`);
      else if (text === null) problems.push(`${file.name} is not UTF-8, or larger than 1 MiB.`);
      else this.set((last = file.name), text);
    }
    this.chooser.setError(problems.length > 0 ? `${problems.join(" ")} Expected: ${FILES.join(", ")}.` : "");
    if (last !== null) this.show(last);
  }

  /**
   * @param {string} name
   * @param {string} text empty removes the file from the edit
   * @param {boolean} typed typed or pasted
   */
  set(name, text, typed = false) {
    this.changes += 1;
    this.changed();
    if (typed) this.typed.add(name);
    else this.typed.delete(name);
    if (text === "") this.texts.delete(name);
    else this.texts.set(name, text);
    this.list.hidden = this.texts.size === 0;
    fill(this.list, this.names().map((one) => h("li", null,
      h("code", null, one),
      h("button", { type: "button", onclick: () => this.remove(one) }, `Remove ${one}`))));
  }

  /** @param {string} name */
  remove(name) {
    this.set(name, "");
    if (this.file.value() === name) this.show(name);
    this.file.control.focus();
  }

  /** @param {string} name */
  show(name) {
    this.file.select.value = name;
    this.text.area.value = this.texts.get(name) ?? "";
  }

  /**
   * Show a file, and select one of its lines.
   * @param {string} name
   * @param {number} line from 1
   */
  reveal(name, line) {
    this.show(name);
    const lines = this.text.area.value.split("\n");
    const start = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
    this.text.area.focus();
    this.text.area.setSelectionRange(start, start + (lines[line - 1]?.length ?? 0));
    const height = this.text.area.scrollHeight / Math.max(1, lines.length);
    this.text.area.scrollTop = Math.max(0, (line - 3) * height);
  }
}

/**
 * Return the text of a file, null if it is not UTF-8. A byte order mark is kept: the report shows it.
 * @param {File} file
 */
async function utf8(file) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(await file.arrayBuffer());
  } catch {
    return null;
  }
}

/**
 * @param {(files: Iterable<File>) => void} add
 * @returns {import("./fields.js").Field}
 */
function chooser(add) {
  const input = h("input", { type: "file", id: newId("files"), multiple: true, accept: ".csv,.toml,.conf" });
  input.addEventListener("change", () => {
    add([...(input.files ?? [])]);
    input.value = "";
  });
  return {
    ...labelled("Drop files here, or choose them", input, FILES.join(", ")),
    control: input, missing: null, value: () => "", setBusy: () => undefined,
  };
}

/**
 * @param {string} label
 * @param {string} hint
 * @returns {import("./fields.js").Field & {area: HTMLTextAreaElement}}
 */
function textArea(label, hint) {
  const area = h("textarea", {
    id: newId("text"), rows: 8, spellcheck: "false", autocapitalize: "none", wrap: "off", class: "mono",
  });
  return {
    ...labelled(label, area, hint), area, control: area, missing: null,
    value: () => area.value,
    setBusy: (busy) => {
      area.readOnly = busy;
    },
  };
}

/**
 * @param {HTMLElement} place
 * @param {(files: Iterable<File>) => void} add
 */
function acceptDrops(place, add) {
  place.addEventListener("dragover", (event) => {
    event.preventDefault();
    place.classList.add("over");
  });
  place.addEventListener("dragleave", () => place.classList.remove("over"));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("over");
    add([...(event.dataTransfer?.files ?? [])]);
  });
}
