"""JSON form of an explanation, for API, CLI and console."""

from collections.abc import Callable
from typing import Final

from sidecar.domain.users import UserRecord
from sidecar.policy.explain import Explanation
from sidecar.policy.rules import Rule

SHOWN_CELLS: Final = 20
"""Maximum number of cells of ``side_effects`` in the list. The count covers all of them."""


def _as_it_is(path: str) -> str:
    return path


def as_dict(found: Explanation, name_of: Callable[[str], str] = _as_it_is) -> dict[str, object]:
    """Return the JSON object. ``name_of`` converts ``policy/policy.csv:12`` to a path for the reader."""

    def rule_json(rule: Rule | None) -> dict[str, object] | None:
        return None if rule is None else {"rule": name_of(rule.id), "text": rule.text}

    near = found.nearest
    return {
        "role": found.role,
        "section": found.section,
        "action": found.action,
        "decision": found.ruling.allowed,
        "reason": found.ruling.reason.value,
        "hint": found.hint or None,
        "rule": None if found.rule is None else name_of(found.rule.id),
        "text": None if found.rule is None else found.rule.text,
        "path": [{"rule": name_of(link.id), "text": link.text} for link in found.path],
        "overridden": rule_json(found.overridden),
        "nearest": None if near is None else {**(rule_json(near.rule) or {}), "mismatches": list(near.mismatches)},
        "edits": [
            {"edit": edit.kind.value, "line": edit.line, "rule": name_of(edit.rule) if edit.rule else None}
            for edit in found.edits_to_flip
        ],
        "side_effects": {
            "count": len(found.side_effects),
            "cells": [
                dict(zip(("role", "section", "action"), cell, strict=True)) for cell in found.side_effects[:SHOWN_CELLS]
            ],
        },
        "roles": list(found.roles),
        "generation": found.generation,
        "user": None if found.person is None else _person(found.person),
    }


def _person(record: UserRecord) -> dict[str, str]:
    return {"id": record.id, "email": record.email, "name": record.name, "status": record.status.value}
