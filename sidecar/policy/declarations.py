"""Reader of roles.toml and sections.toml: declared names, against which rules, routes and tests are checked.

A rule, route or expectation with an undeclared name is an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sidecar.domain.text import fold_case
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import DiagnosticSink, suggestion
from sidecar.policy.own_checks import RouteEntry
from sidecar.policy.route_loader import check_entries, read_public, read_routes
from sidecar.policy.routes import Route
from sidecar.policy.stages import Stages
from sidecar.policy.text.confusables import described
from sidecar.policy.text.csv_reader import NAME, NAME_FORM
from sidecar.policy.text.toml_reader import TomlTable, read_toml


@dataclass(frozen=True, slots=True)
class Role:
    """Role that users hold. The console shows ``title`` and ``description``. `member` is not assignable."""

    id: str
    title: str
    description: str
    assignable: bool


@dataclass(frozen=True, slots=True)
class Section:
    """Part of the dashboard, with its actions. ``action_titles``: one title per action, in the same order."""

    id: str
    title: str
    actions: tuple[str, ...]
    action_titles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Declared names. ``roles`` or ``sections`` is None if its file is unreadable.

    Names are then not checked against that file, so that one missing bracket does not cause a hundred findings.
    """

    roles: Mapping[str, Role] | None
    sections: Mapping[str, Section] | None
    routes: tuple[Route, ...] = ()
    actions: frozenset[str] = frozenset()
    unreadable: frozenset[str] = frozenset()
    """Sections with unreadable actions. Their actions are not checked."""
    pairs: frozenset[tuple[str, str]] = frozenset()
    """Valid pairs of section and action. Most lines name one of these, and need no further check."""

    @property
    def names(self) -> tuple[object, ...]:
        """The names alone: other files are checked against nothing else."""
        sections = None if self.sections is None else tuple((one.id, one.actions) for one in self.sections.values())
        return (None if self.roles is None else tuple(self.roles), sections, self.unreadable)


DECLARED_IN = ("roles.toml", "sections.toml")
MAX_CELLS = 3_000_000
_SAME_SHAPE = str.maketrans({"-": None, "_": None, "0": "o", "1": "l", "i": "l"})


def read_vocabulary(files: Mapping[str, bytes], findings: DiagnosticSink, stages: Stages | None = None) -> Vocabulary:
    """Read both TOML files. A missing file is already reported."""
    stages, roles, found = stages or Stages(), None, Vocabulary(None, None)
    if "roles.toml" in files:
        data = files["roles.toml"]
        roles = stages.run("roles", (data,), findings, lambda sink: _read_roles(data, sink))
    if "sections.toml" in files:
        listed = files["sections.toml"]
        found = stages.run("sections", (listed,), findings, lambda sink: _read_sections(listed, sink))
    cells = len(roles or ()) * sum(len(section.actions) for section in (found.sections or {}).values())
    if cells > MAX_CELLS:
        message = f"roles × actions make more than {MAX_CELLS:,} cells"
        findings.add(Code.POLICY_TOO_LARGE, "sections.toml", (1, 1), message, "split the policy")
    return replace(found, roles=roles)


def _read_sections(data: bytes, findings: DiagnosticSink) -> Vocabulary:
    """Return the vocabulary without roles."""
    root = read_toml(data, "sections.toml", findings)
    if root is None or not _has_tables(root, "sections", "sections", "public"):
        return Vocabulary(None, None)
    sections: dict[str, Section] = {}
    entries: list[RouteEntry] = []
    for name, table in root.named("sections"):
        _check_name(name, table, "section")
        section = _read_section(name, table)
        sections[name] = section
        entries.extend(read_routes(name, section.actions, table))
    entries.extend(read_public(root))
    report_confusable({section.id: section.title for section in sections.values()}, "section", root)
    check_entries(entries, findings)
    actions = frozenset(action for section in sections.values() for action in section.actions)
    unreadable = frozenset(section.id for section in sections.values() if not section.actions)
    pairs = frozenset(
        (section.id, action)
        for section in sections.values()
        for action in section.actions
        if NAME.fullmatch(section.id) and NAME.fullmatch(action)
    )
    return Vocabulary(None, sections, tuple(entry.route for entry in entries), actions, unreadable, pairs)


def _read_roles(data: bytes, findings: DiagnosticSink) -> dict[str, Role] | None:
    root = read_toml(data, "roles.toml", findings)
    if root is None or not _has_tables(root, "roles", "roles"):
        return None
    roles: dict[str, Role] = {}
    for name, table in root.named("roles"):
        _check_name(name, table, "role")
        table.known("title", "description", "assignable")
        title = shown_text(table, "title", name)
        description = shown_text(table, "description", "", required=False)
        roles[name] = Role(name, title, description, table.flag("assignable", default=True))
    report_confusable({role.id: role.title for role in roles.values()}, "role", root)
    return roles


def _has_tables(root: TomlTable, table_name: str, *known: str) -> bool:
    """Return whether the file has the ``table_name`` tables. If not, that is one finding, and rules are not checked."""
    root.known(*known)
    declared = root.values.get(table_name)
    if declared is not None and not isinstance(declared, dict):
        root.report(Code.WRONG_TYPE, table_name, f"{table_name} must be tables", f"write [{table_name}.name]")
        return False
    if declared == {} or (declared is None and not root.values):
        root.report(Code.EMPTY_FILE, None, f"the file declares no {table_name}", f"add [{table_name}.name]")
        return False
    if declared is None:
        root.report(Code.MISSING_KEY, None, f'the file has no "{table_name}"', f"add [{table_name}.name]")
    return declared is not None


def _check_name(name: str, table: TomlTable, noun: str) -> None:
    """Report an invalid id. The name stays declared, so that its uses are not reported as well."""
    if NAME.fullmatch(name):
        return
    odd = next((c for c in name if not NAME.fullmatch(c) and c not in "-_"), None)
    message = f'"{name}" is not a valid {noun} id'
    if odd is not None and not odd.isascii():
        message += f": it contains {described(odd)}"
    table.report(Code.INVALID_NAME, None, message, f"an id is {NAME_FORM}")


def shown_text(table: TomlTable, key: str, default: str, *, required: bool = True) -> str:
    """Return a text for display: one line, not empty, without invisible characters."""
    text = table.text(key, required=required)
    if text is None:
        return default
    if not text.strip() or not text.isprintable() or len(text) > 500:
        message = f'"{key}" must be one line of 1 to 500 visible characters'
        table.report(Code.INVALID_TEXT, key, message, f'write {key} = "…"')
    return text


def _read_section(name: str, table: TomlTable) -> Section:
    table.known("title", "actions", "action_titles", "routes")
    title = shown_text(table, "title", name)
    actions: dict[str, None] = {}
    listed = table.texts("actions")
    for action in listed or ():
        if action in actions:
            table.report(
                Code.DUPLICATE_ACTION, "actions", f'duplicate action "{action}" in "{name}"', "delete one of them"
            )
        elif not NAME.fullmatch(action):
            hint = f"an action is {NAME_FORM}"
            table.report(Code.INVALID_NAME, "actions", f'"{action}" is not a valid action', hint)
        actions[action] = None
    if listed is not None and not listed:
        table.report(Code.MISSING_KEY, "actions", f'"{name}" has no action', 'name at least one, like ["view"]')
    return Section(name, title, tuple(actions), _read_action_titles(table, tuple(actions)))


def _read_action_titles(section: TomlTable, actions: tuple[str, ...]) -> tuple[str, ...]:
    """Return the title of each action: as declared in ``action_titles``, otherwise its id as words."""
    titles = {action: default_title(action) for action in actions}
    table = section.table("action_titles")
    if table is None or not actions:  # unreadable actions are reported already
        return tuple(titles.values())
    for action in table.values:
        if action in titles:
            titles[action] = shown_text(table, action, titles[action])
        elif table.document.findings.accepts(Code.UNKNOWN_ACTION, table.document.file):
            message = f'"{action}" is not an action of "{section.path[-1]}"'
            table.report(Code.UNKNOWN_ACTION, action, message, suggestion(action, actions))
        else:
            table.report(Code.UNKNOWN_ACTION, action, "", "")  # counted only
    _refuse_same_title(titles, table)
    return tuple(titles.values())


def _refuse_same_title(titles: Mapping[str, str], table: TomlTable) -> None:
    """Report a declared title that differs from another action's title only in case, or not at all."""
    owners: dict[str, str] = {}
    for action, title in sorted(titles.items(), key=lambda one: one[0] in table.values):  # defaults first
        first = owners.setdefault(fold_case(title, len(title)) or title, action)
        if first != action and action in table.values:
            table.report(
                Code.CONFUSABLE_NAME, action, f'"{action}" has the same title as "{first}"', "change one of the titles"
            )


def default_title(action: str) -> str:
    """Return the id of an action as words: ``change-plan`` is "Change plan"."""
    words = action.replace("-", " ").replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def shape_of(name: str) -> str:
    """Return the name without differences that are easy to overlook: ``-`` and ``_``, 0/o, 1/l/i."""
    return name.translate(_SAME_SHAPE)


def report_confusable(titles: Mapping[str, str], noun: str, root: TomlTable) -> None:
    """Report ids that differ only in ``-`` and ``_``, 0/o or 1/l/i, and titles that differ only in case."""
    shapes: dict[str, str] = {}
    shown: dict[str, str] = {}
    document = root.document
    for name, title in titles.items():
        first = shapes.setdefault(shape_of(name), name)
        if first != name:
            message = f'the {noun}s "{first}" and "{name}" look alike'
            at = document.at((f"{noun}s", name))
            document.findings.add(Code.CONFUSABLE_NAME, document.file, at, message, "rename one")
        first = shown.setdefault(fold_case(title, len(title)) or title, name)
        if first != name:
            message = f'"{name}" has the same title as "{first}"'
            at = document.at((f"{noun}s", name, "title"))
            document.findings.add(Code.CONFUSABLE_NAME, document.file, at, message, "change one of the titles")
