"""Difference of two policies as Markdown, for a pull request. Renames come first, then changes that open access.

Each value from the files is in a code span (`markdown.code`), so that none is a link, a mention, HTML or a table cell.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sidecar.policy.diff import CellChange, Difference, RenameChange, RoleChange, RouteChange
from sidecar.policy.markdown import code, table_head, table_row

MAX_CHARACTERS: Final = 60_000
"""GitHub rejects a comment of more than 65,536."""

_RESERVE: Final = 500
"""Characters for the mark of a comment and for the line about omitted changes."""

SHOWN_PEOPLE: Final = 20
SHOWN_WITNESSES: Final = 2

People = Mapping[str, Sequence[str]]
"""Ids of the users per role."""


def to_markdown(difference: Difference, people: People | None = None, without_people: str = "") -> str:
    """Return the difference, cut to `MAX_CHARACTERS`. ``without_people``: the reason why no sidecar was asked."""
    opening = sum(change.opens for change in difference.cells) + sum(change.opens for change in difference.routes)
    count = len(difference.cells) + len(difference.routes) + len(difference.roles) + len(difference.renames)
    lines = ["### Policy changes", "", _summary(opening, count)]
    size = sum(len(line) + 1 for line in lines)
    shown = 0
    for heading, rows in _tables(difference, people):
        added = 0
        for row in rows:
            block = [*(heading if added == 0 else ()), row]
            wanted = sum(len(line) + 1 for line in block)
            if size + wanted > MAX_CHARACTERS - _RESERVE:
                break
            lines += block
            size += wanted
            added += 1
        shown += added
    if shown < count:
        lines += ["", f"{count - shown} more changes are not shown: `sidecar policy diff` lists all."]
    return "\n".join(_with_people(lines, difference, people, without_people, size)) + "\n"


def _summary(opening: int, count: int) -> str:
    if not count:
        return "No cell, no route, no role and no name differs."
    if not opening:
        return f"{count} changes. None of them opens access."
    return f"**{opening} of {count} changes open access.**"


def _tables(difference: Difference, people: People | None) -> Iterator[tuple[list[str], Iterator[str]]]:
    """Yield the heading and the rows of each table."""
    heading = ["", "#### Renames", "", *table_head("", "from", "to", "cells", "routes", "answers that change")]
    yield heading, (_rename(change) for change in difference.renames)
    for title, opens in (("Changes that open access", True), ("Other changes", False)):
        cells = [change for change in difference.cells if change.opens is opens]
        routes = [change for change in difference.routes if change.opens is opens]
        named = ["", f"#### {title}"] if cells or routes else []
        needs = any(change.requirement is not None for change in cells)
        columns = ["role", "section", "action", "from", "to"]
        columns += [*(["example"] if needs else []), *(["people"] if people is not None else [])]
        yield [*named, "", *table_head(*columns)], (_cell(change, people, needs=needs) for change in cells)
        heading = [*([] if cells else named), "", *table_head("method", "path", "from", "to")]
        yield heading, (_route(change) for change in routes)
    heading = ["", "#### Roles", "", *table_head("role", "from", "to")]
    yield heading, (_role(change) for change in difference.roles)


def _cell(change: CellChange, people: People | None, *, needs: bool) -> str:
    after = change.after if change.requirement is None else f"{change.after}, needs {change.requirement}"
    cells = [code(change.role), code(change.section), code(change.action), change.before, after]
    if needs:
        cells.append("; ".join(code(witness.text) for witness in change.witnesses[:SHOWN_WITNESSES]))
    if people is not None:
        cells.append(str(len(people.get(change.role, ()))))
    return table_row(*cells)


def _rename(change: RenameChange) -> str:
    counts = (str(count) for count in (change.cells, change.routes, change.changes))
    return table_row(change.kind, code(change.before), code(change.after), *counts)


def _route(change: RouteChange) -> str:
    return table_row(code(change.method), code(change.path), code(change.before), code(change.after))


def _role(change: RoleChange) -> str:
    return table_row(code(change.role), change.before, change.after)


def _with_people(
    lines: list[str], difference: Difference, people: People | None, without_people: str, size: int
) -> list[str]:
    """Add the ids of the users whose role changes, as far as there is room."""
    if people is None:
        return [*lines, "", f"People: not listed, {without_people}."] if without_people else lines
    if not difference.cells:
        return lines
    lines += ["", "#### People with a changed role, in the account of the token", ""]
    for role in dict.fromkeys(change.role for change in difference.cells):
        users = people.get(role, ())
        ids = ", ".join(map(code, users[:SHOWN_PEOPLE])) or "none"
        more = f" and {len(users) - SHOWN_PEOPLE} more" if len(users) > SHOWN_PEOPLE else ""
        line = f"- {code(role)}: {ids}{more}"
        size += len(line) + 1
        if size > MAX_CHARACTERS - _RESERVE // 2:
            return lines
        lines.append(line)
    return lines
