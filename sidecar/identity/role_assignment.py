"""Roles that a user may assign (R11): ``users/manage`` does not include all roles. The active policy decides."""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from sidecar.domain import text
from sidecar.domain.users import Actor
from sidecar.policy.decide import allows_as_much, covers_in
from sidecar.policy.declarations import Role
from sidecar.policy.generation import Generation

MAX_ROLE: Final = 320
"""Maximum characters of a typed role id or title. A longer one gets no suggestion."""


@dataclass(frozen=True, slots=True)
class UnknownRole:
    """Role that does not exist or is not assignable. ``nearest``: suggestion."""

    role: str
    roles: tuple[str, ...]
    nearest: str | None


@dataclass(frozen=True, slots=True)
class RoleAboveYours:
    """Role with a permission that the actor lacks. ``now``: by its needs alone, which the actor does not meet now."""

    role: str
    now: bool = False


def check_assignment(
    generation: Generation, actor: Actor, *, current: str | None, new: str | None
) -> UnknownRole | RoleAboveYours | None:
    """Return None if ``actor`` may change a user from role ``current`` to role ``new``, else the reason.

    An operator (no user id) may assign any assignable role.
    """
    if new is not None and not is_assignable(generation, new):
        return unknown(generation, new)
    if actor.user is None:
        return None
    for role in (current, new):
        if role is not None and not covers_in(generation, actor.role, role, actor.facts_class):
            return RoleAboveYours(role, now=allows_as_much(generation, actor.role, role))
    return None


def may_assign(generation: Generation, role: str, facts_class: int | None = None) -> list[Role]:
    """Return the roles that a user of ``role`` in a class of facts may assign, in file order."""
    return [
        one
        for one in generation.roles.values()
        if is_assignable(generation, one.id) and covers_in(generation, role, one.id, facts_class)
    ]


def is_assignable(generation: Generation, role: str) -> bool:
    known = generation.roles.get(role)
    return known is not None and known.assignable


def unknown(generation: Generation, role: str) -> UnknownRole:
    roles = tuple(one for one in generation.roles if is_assignable(generation, one))
    spelled = text.fold_case(role, MAX_ROLE)
    if spelled is None:
        return UnknownRole(role, roles, None)
    titles = {text.fold_case(title, MAX_ROLE): one for one in roles if (title := generation.roles[one].title)}
    near = get_close_matches(spelled, [*roles, *filter(None, titles)], n=1, cutoff=0.6)
    return UnknownRole(role, roles, titles.get(near[0], near[0]) if near else None)
