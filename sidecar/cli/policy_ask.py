"""``sidecar policy matrix`` and ``can``: questions to the files, answered as the server would."""

from collections.abc import Iterable

import click

from sidecar.cli.output import NO, OK, json_option, say_json, say_table, wrong
from sidecar.cli.policy_files import Source, draft_of, files_options, source_from
from sidecar.policy.decide import decide
from sidecar.policy.diagnostics import did_you_mean
from sidecar.policy.generation import Generation, Ruling


@click.command()
@files_options
@click.option("--role", "roles", multiple=True, metavar="ROLE", help="Only this role; may be repeated.")
@click.option("--section", "sections", multiple=True, metavar="SECTION", help="Only this section; may be repeated.")
@json_option
def matrix(roles: tuple[str, ...], sections: tuple[str, ...], as_json: bool, **flags: str | None) -> int:
    """Print who may do what: every role, section and action, with the rule that decides."""
    source = source_from(flags)
    generation = draft_of(source)
    for role in roles:
        known("role", role, generation.roles)
    for section in sections:
        known("section", section, generation.sections)
    cells = [
        (cell, ruling)
        for cell, ruling in generation.cells.items()
        if (not roles or cell[0] in roles) and (not sections or cell[1] in sections)
    ]
    if as_json:
        say_json({"generation": generation.id, "cells": [as_dict(source, *cell, ruling) for cell, ruling in cells]})
        return OK
    rows = [(*cell, _word(ruling), _because(source, ruling)) for cell, ruling in cells]
    say_table(("role", "section", "action", "decision", "because"), rows)
    return OK


@click.command()
@click.argument("role")
@click.argument("section")
@click.argument("action")
@files_options
@json_option
def can(role: str, section: str, action: str, as_json: bool, **flags: str | None) -> int:
    """May ROLE do ACTION in SECTION? Exit status 0 yes, 1 no.

    A name that does not exist is an error (2) and never an answer.
    """
    source = source_from(flags)
    generation = draft_of(source)
    known_cell(generation, role, section, action)
    ruling = decide(generation, role, section, action)
    if as_json:
        say_json({**as_dict(source, role, section, action, ruling), "generation": generation.id})
    else:
        click.echo(f"{'yes' if ruling.allowed else 'no'}: {_because(source, ruling)}")
    return OK if ruling.allowed else NO


def known_cell(generation: Generation, role: str, section: str, action: str) -> None:
    """Ends the verb with status 2 when one of the names does not exist."""
    known("role", role, generation.roles)
    known("section", section, generation.sections)
    known(f'action of "{section}"', action, generation.sections[section].actions)


def known(what: str, name: str, names: Iterable[str]) -> None:
    """Ends the verb with status 2 when there is no such name."""
    candidates = list(names)
    if name not in candidates:
        hint = did_you_mean(name, candidates) or f"known: {', '.join(candidates[:20])}"
        raise wrong(f'"{name}" is not {"an" if what[0] == "a" else "a"} {what} ({hint})')


def as_dict(source: Source, role: str, section: str, action: str, ruling: Ruling) -> dict[str, object]:
    """A cell as the API shows it."""
    return {
        "role": role,
        "section": section,
        "action": action,
        "decision": ruling.allowed,
        "reason": ruling.reason.value,
        "rule": source.name_of(ruling.rule) if ruling.rule else None,
    }


def _word(ruling: Ruling) -> str:
    return "allow" if ruling.allowed else "deny"


def _because(source: Source, ruling: Ruling) -> str:
    return f"{ruling.reason} by {source.name_of(ruling.rule)}" if ruling.rule else ruling.reason.value
