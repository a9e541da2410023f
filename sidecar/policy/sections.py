"""roles.toml and sections.toml → the vocabulary that every rule, route and test is checked against.

Nothing outside it exists: a rule, a route or an expectation that names something undeclared is an error.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import Findings
from sidecar.policy.route_entries import Entry, judge_entries, read_public, read_routes
from sidecar.policy.routes import Route
from sidecar.policy.toml_file import Table, read_toml


@dataclass(frozen=True, slots=True)
class Role:
    """What people hold. ``title`` and ``description`` are what the console shows; `member` is not assignable."""

    id: str
    title: str
    description: str
    assignable: bool


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the dashboard and what may be done there."""

    id: str
    title: str
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The declared names. ``roles`` or ``sections`` is None when its file could not be read: then nothing is judged
    by it, so that one missing bracket is one finding and not a hundred."""

    roles: Mapping[str, Role] | None
    sections: Mapping[str, Section] | None
    routes: tuple[Route, ...] = ()
    actions: frozenset[str] = field(default_factory=frozenset)


NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
MAX_CELLS = 3_000_000
_SAME_SHAPE = str.maketrans({"-": None, "_": None, "0": "o", "1": "l", "i": "l"})


def read_vocabulary(files: Mapping[str, bytes], findings: Findings) -> Vocabulary:
    """Both TOML files. A missing one has been reported already."""
    roles = _read_roles(files["roles.toml"], findings) if "roles.toml" in files else None
    if "sections.toml" not in files:
        return Vocabulary(roles, None)
    root = read_toml(files["sections.toml"], "sections.toml", findings)
    if root is None:
        return Vocabulary(roles, None)
    root.known("sections", "public")
    sections: dict[str, Section] = {}
    entries: list[Entry] = []
    for name, table in root.named("sections"):
        if not _is_name(name, table, "section"):
            continue
        section = _read_section(name, table)
        sections[name] = section
        entries.extend(read_routes(name, section.actions, table))
    entries.extend(read_public(root))
    _refuse_confusable(sections, "section", root.document.file, root, findings)
    judge_entries(entries, findings)
    actions = frozenset(action for section in sections.values() for action in section.actions)
    if roles is not None and len(roles) * sum(len(section.actions) for section in sections.values()) > MAX_CELLS:
        message = f"roles × actions make more than {MAX_CELLS:,} cells"
        findings.add(Code.POLICY_TOO_LARGE, "sections.toml", (1, 1), message, "split the policy")
    return Vocabulary(roles, sections, tuple(entry.route for entry in entries), actions)


def _read_roles(data: bytes, findings: Findings) -> dict[str, Role] | None:
    root = read_toml(data, "roles.toml", findings)
    if root is None:
        return None
    root.known("roles")
    roles: dict[str, Role] = {}
    for name, table in root.named("roles"):
        if not _is_name(name, table, "role"):
            continue
        table.known("title", "description", "assignable")
        title = _shown(table, "title", name)
        description = _shown(table, "description", "", required=False)
        roles[name] = Role(name, title, description, table.flag("assignable", default=True))
    _refuse_confusable(roles, "role", root.document.file, root, findings)
    titles: dict[str, str] = {}
    for name, role in roles.items():
        first = titles.setdefault(role.title.casefold(), name)
        if first != name:
            message = f'"{name}" has the title of "{first}": nobody could tell them apart in the list of roles'
            findings.add(Code.CONFUSABLE_NAME, "roles.toml", root.document.at(("roles", name, "title")), message)
    return roles


def _is_name(name: str, table: Table, what: str) -> bool:
    if NAME.fullmatch(name):
        return True
    odd = next((c for c in name if not NAME.fullmatch(c) and c not in "-_"), None)
    message = f'"{name}" cannot be the id of a {what}'
    if odd is not None and not odd.isascii():
        message += f": it holds U+{ord(odd):04X} ({unicodedata.name(odd, 'no name')})"
    table.report(Code.INVALID_NAME, None, message, "an id is 1 to 64 of a-z, 0-9, - and _, a letter or digit first")
    return False


def _shown(table: Table, key: str, default: str, *, required: bool = True) -> str:
    """A text that people read: one line, not empty, nothing that cannot be seen."""
    text = table.text(key, required=required)
    if text is None:
        return default
    if not text.strip() or not text.isprintable() or len(text) > 500:
        table.report(Code.INVALID_TEXT, key, f'"{key}" must be one line of 1 to 500 characters that can be seen')
    return text


def _read_section(name: str, table: Table) -> Section:
    table.known("title", "actions", "routes")
    title = _shown(table, "title", name)
    actions: dict[str, None] = {}
    listed = table.texts("actions")
    for action in listed or ():
        if action in actions:
            table.report(Code.DUPLICATE_ACTION, "actions", f'"{action}" stands twice in the actions of "{name}"')
        elif not NAME.fullmatch(action):
            hint = "an action is 1 to 64 of a-z, 0-9, - and _, a letter or digit first"
            table.report(Code.INVALID_NAME, "actions", f'"{action}" cannot be an action', hint)
        actions[action] = None
    if listed is not None and not listed:
        table.report(Code.MISSING_KEY, "actions", f'"{name}" has no action', 'name at least one, like ["view"]')
    return Section(name, title, tuple(actions))


def _refuse_confusable(names: Iterable[str], what: str, file: str, root: Table, findings: Findings) -> None:
    """Two ids that a reader takes for one: they differ in ``-`` and ``_`` or in 0/o, 1/l/i alone."""
    shapes: dict[str, str] = {}
    for name in names:
        first = shapes.setdefault(name.translate(_SAME_SHAPE), name)
        if first != name:
            at = root.document.at((f"{what}s", name))
            findings.add(Code.CONFUSABLE_NAME, file, at, f'the {what}s "{first}" and "{name}" look alike', "rename one")
