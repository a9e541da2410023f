"""``sidecar policy explain``: why an answer is what it is, and what would change it."""

import click

from sidecar.cli.options import STORE, settings_from, settings_options
from sidecar.cli.output import NO, OK, json_option, plain, say_json, say_pairs
from sidecar.cli.policy_ask import account_option, asked_about, known_cell
from sidecar.cli.policy_files import Source, draft_of, source_of
from sidecar.policy.explain import Explanation
from sidecar.policy.explain import explain as explain_cell
from sidecar.policy.rules import Rule


@click.command()
@click.argument("who", metavar="ROLE|E-MAIL")
@click.argument("section")
@click.argument("action")
@account_option
@settings_options(STORE)
@json_option
def explain(who: str, section: str, action: str, account: str | None, as_json: bool, **flags: str | None) -> int:
    """Why ROLE, or the person with this e-mail, may or may not do ACTION in SECTION.

    With the rule and the way by `g` that led there; for a deny, the nearest rule, the one change that would allow it,
    and the roles that may. Exit status 0 allowed, 1 denied.
    """
    settings = settings_from(flags)
    source = source_of(settings)
    generation = draft_of(source)
    asked = asked_about(who, account, settings)
    known_cell(generation, asked.role, section, action)
    explanation = explain_cell(generation, asked.role, section, action)
    if as_json:
        say_json({**as_dict(explanation, source), "user": asked.user, "generation": generation.id})
    else:
        if asked.note:
            click.echo(plain(asked.note.rstrip(": ")))
        say_pairs(_told(explanation, source))
    return OK if explanation.allowed and asked.barred is None else NO


def as_dict(explanation: Explanation, source: Source) -> dict[str, object]:
    """The object of the API, with files named as the user does."""
    return {
        "role": explanation.role,
        "section": explanation.section,
        "action": explanation.action,
        "decision": explanation.allowed,
        "reason": explanation.reason.value,
        "rule": _name(explanation.rule, source),
        "text": explanation.rule.text if explanation.rule else None,
        "path": list(explanation.path),
        "nearest": _name(explanation.nearest, source),
        "change": str(explanation.change) if explanation.change else None,
        "roles": list(explanation.roles),
    }


def _name(rule: Rule | None, source: Source) -> str | None:
    return source.name_of(rule.id) if rule else None


def _told(explanation: Explanation, source: Source) -> dict[str, object]:
    told: dict[str, object] = {
        "decision": f"{'allow' if explanation.allowed else 'deny'} ({explanation.reason})",
        "rule": _line(explanation.rule, source) or "none",
    }
    if len(explanation.path) > 1:
        told["inherited"] = " -> ".join(explanation.path)
    if not explanation.allowed:
        told["nearest"] = _line(explanation.nearest, source) or "none"
        told["to allow it"] = str(explanation.change) if explanation.change else "nothing would"
        told["who may"] = ", ".join(explanation.roles) or "nobody"
    return told


def _line(rule: Rule | None, source: Source) -> str | None:
    return f"{source.name_of(rule.id)}: {rule.text}" if rule else None
