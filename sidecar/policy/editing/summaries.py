"""Summaries of a name for editors: permissions, and the line of each. Markdown."""

from collections.abc import Iterator
from typing import Final

from sidecar.policy.decide import decide
from sidecar.policy.decision_table import Ruling
from sidecar.policy.diagnostics import path_of
from sidecar.policy.editing.symbols import Occurrence, SymbolKind
from sidecar.policy.generation import Generation
from sidecar.policy.needs.lines import FILE as NEEDS
from sidecar.policy.routes import Route, outcome_text
from sidecar.policy.rules import ANY

MAX_ROWS: Final = 60


def summary(generation: Generation, symbol: Occurrence) -> str | None:
    """Return the summary of a declared name, or None."""
    match symbol.kind:
        case SymbolKind.ROLE:
            return _role(generation, symbol.name)
        case SymbolKind.SECTION:
            return _section(generation, symbol.name)
        case SymbolKind.ACTION:
            return _action(generation, symbol.section, symbol.name)
        case SymbolKind.CONDITION:
            return _condition(generation, symbol.name)


def _role(generation: Generation, name: str) -> str | None:
    role = generation.roles.get(name)
    if role is None:
        return None
    lines = [f"**{_inert(role.title)}** (role `{name}`)" + ("" if role.assignable else ", not assignable")]
    lines += [_inert(role.description)] if role.description else []
    inherited = generation.closures.get(name, ())[1:]
    lines += [f"inherits {', '.join(f'`{one}`' for one in inherited)}"] if inherited else []
    cells = [(section.id, action) for section in generation.sections.values() for action in section.actions]
    rows = [(f"{section}/{action}", _because(generation, name, section, action)) for section, action in cells]
    return _text(lines, ("may", "from"), [row for row in rows if row[1]], "may nothing")


def _section(generation: Generation, name: str) -> str | None:
    section = generation.sections.get(name)
    if section is None:
        return None
    lines = [f"**{_inert(section.title)}** (section `{name}`)"]
    rows = [
        (f"{role}: {action}", _because(generation, role, name, action))
        for role in generation.roles
        for action in section.actions
    ]
    text = _text(lines, ("permission", "from"), [row for row in rows if row[1]], "no role has a permission")
    routes = [one for one in generation.routes.routes if outcome_text(one.target).partition("/")[0] == name]
    return text + "".join(_routes(routes))


def _action(generation: Generation, section: str, name: str) -> str | None:
    if section == ANY:
        owners = [one.id for one in generation.sections.values() if name in one.actions]
        return f"action `{name}` of {', '.join(f'`{one}`' for one in owners)}" if owners else None
    declared = generation.sections.get(section)
    if declared is None or name not in declared.actions:
        return None
    title = declared.action_titles[declared.actions.index(name)]
    lines = [f"**{_inert(title)}** (action `{section}/{name}`)"]
    rows = [(role, _because(generation, role, section, name)) for role in generation.roles]
    text = _text(lines, ("role", "from"), [row for row in rows if row[1]], "no role may")
    routes = [one for one in generation.routes.routes if outcome_text(one.target) == f"{section}/{name}"]
    return text + "".join(_routes(routes))


def _condition(generation: Generation, name: str) -> str | None:
    condition = generation.needs.conditions.get(name)
    if condition is None:
        return None
    lines = [f"**{_inert(condition.title)}** (condition `{name}`, {condition.kind})"]
    rows = [(line.text, f"{path_of(NEEDS)}:{line.line}") for line in generation.needs.lines if name in line.conditions]
    return _text(lines, ("asked for by", "from"), rows, "no line of needs.csv asks for it")


def _because(generation: Generation, role: str, section: str, action: str) -> str:
    """Return the deciding rule of an allowed cell, with its needs; empty for a denied one."""
    ruling: Ruling = decide(generation, role, section, action)
    if not ruling.allowed or ruling.rule is None:
        return ""
    needs = generation.needs.lines_of(role, section, action)
    more = "".join(f", needs {' or '.join(line.conditions)} ({path_of(NEEDS)}:{line.line})" for line in needs)
    return ruling.rule + more


def _routes(routes: list[Route]) -> Iterator[str]:
    if routes:
        yield "\n\n"
    for route in routes[:MAX_ROWS]:
        yield f"- `{', '.join(route.methods)} {route.path}`\n"


def _text(lines: list[str], header: tuple[str, str], rows: list[tuple[str, str]], nothing: str) -> str:
    text = "\n\n".join(lines)
    if not rows:
        return f"{text}\n\n{nothing}"
    table = [f"| {header[0]} | {header[1]} |", "| --- | --- |"]
    table += [f"| `{_cell(one)}` | `{_cell(other)}` |" for one, other in rows[:MAX_ROWS]]
    more = [f"and {len(rows) - MAX_ROWS} more"] if len(rows) > MAX_ROWS else []
    return "\n\n".join((text, "\n".join(table), *more))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _inert(text: str) -> str:
    """Return a text of the files without a meaning in Markdown."""
    return "".join(f"\\{character}" if character in "\\`*_{}[]()<>#+!|~&" else character for character in text)
