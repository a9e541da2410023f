"""``sidecar policy explain``: the reason for a decision, and the changes that would reverse it."""

import click

from sidecar.cli.options import settings_from
from sidecar.cli.output import NO, OK, plain, print_json, print_pairs
from sidecar.cli.policy.policy_source import Source, draft_of, source_of
from sidecar.cli.policy.query import cell_arguments, known_cell, query_subject
from sidecar.policy.diagnostics import path_of
from sidecar.policy.explain import Edit, EditKind, Explanation, explain_person
from sidecar.policy.explain import explain as explain_cell
from sidecar.policy.explained import to_explained
from sidecar.policy.rules import FILE, Rule


@click.command()
@cell_arguments
def explain(subject: str, section: str, action: str, account: str | None, as_json: bool, **flags: str | None) -> int:
    """Explain why ROLE, or the user with this e-mail, may or may not do ACTION in SECTION.

    Prints the deciding rule and the inheritance path by `g`. For a deny it also prints the nearest rule, the one change
    that would allow it, and the roles with access. Exit status 0 allowed, 1 denied. A suspended or only invited user is
    denied for that status, as in `can` and in every check; the rule then shows the role's permission.
    """
    settings = settings_from(flags)
    source = source_of(settings)
    generation = draft_of(source)
    queried = query_subject(subject, account, settings)
    known_cell(generation, queried.role, section, action)
    if queried.person is None:
        explanation = explain_cell(generation, queried.role, section, action)
    else:
        explanation = explain_person(generation, queried.person, section, action)
    if as_json:
        print_json(to_explained(explanation, source.name_of))
    else:
        if queried.note:
            click.echo(plain(queried.note.rstrip(": ")))
        print_pairs(_reported(explanation, source))
    return OK if explanation.ruling.allowed else NO


def _reported(found: Explanation, source: Source) -> dict[str, object]:
    reported: dict[str, object] = {
        "decision": f"{'allow' if found.ruling.allowed else 'deny'} ({found.ruling.reason})",
        "rule": _line(found.rule, source) or "none",
    }
    for link in found.path:
        reported[f"by {link.role}"] = f"{source.name_of(link.id)}: {link.text}"
    if found.ruling.allowed:
        return reported
    if found.overridden is not None:
        reported["overrides"] = _line(found.overridden, source)
    if found.person is not None and not found.person.may_sign_in:
        status = found.person.status if found.person.review is None else "held: see sidecar user review"
        reported["edits"] = f"none: the user is {status}"
    else:
        reported["nearest"] = _line(found.nearest.rule, source) if found.nearest else "none"
        reported["edits"] = "; ".join(_edit(edit, source) for edit in found.edits_to_flip) or "none in policy.csv"
    if found.side_effects:
        reported["side effects"] = f"opens {len(found.side_effects)} other cells"
    reported["allowed roles"] = ", ".join(found.roles) or "none"
    return reported


def _edit(edit: Edit, source: Source) -> str:
    where = source.name_of(edit.rule) if edit.rule else source.name_of(path_of(FILE))
    match edit.kind:
        case EditKind.WRITE:
            return f"add to {where}: {edit.line}"
        case EditKind.REMOVE:
            return f"delete {where}: {edit.line}"
        case EditKind.REPLACE:
            return f"write in place of {where}: {edit.line}"


def _line(rule: Rule | None, source: Source) -> str | None:
    return f"{source.name_of(rule.id)}: {rule.text}" if rule else None
