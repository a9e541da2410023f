"""Which roles somebody may hand out (R11): ``users/manage`` is not root. The policy in force decides, per call."""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from sidecar.domain import text
from sidecar.domain.users import Actor
from sidecar.policy.decide import covers
from sidecar.policy.declarations import Role
from sidecar.policy.generation import Generation

MAX_ROLE: Final = 320
"""Characters of a role's id or title, as typed: a longer one resembles none."""


@dataclass(frozen=True, slots=True)
class UnknownRole:
    """No such role that could be given to a user. ``nearest`` is what was probably meant."""

    role: str
    roles: tuple[str, ...]
    nearest: str | None


@dataclass(frozen=True, slots=True)
class RoleAboveYours:
    """The role may do something that the actor may not."""

    role: str


def judge(
    generation: Generation, actor: Actor, *, held: str | None, wanted: str | None
) -> UnknownRole | RoleAboveYours | None:
    """May ``actor`` touch a user whose role is ``held`` and leave it with ``wanted``? None: yes.

    An operator (no user id) may hand out any role that can be given.
    """
    if wanted is not None and not is_assignable(generation, wanted):
        return unknown(generation, wanted)
    if actor.user is None:
        return None
    for role in (held, wanted):
        if role is not None and not covers(generation, actor.role, role):
            return RoleAboveYours(role)
    return None


def may_assign(generation: Generation, role: str) -> list[Role]:
    """The roles that a user of ``role`` may hand out, in the order of the file."""
    return [
        one
        for one in generation.roles.values()
        if is_assignable(generation, one.id) and covers(generation, role, one.id)
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
