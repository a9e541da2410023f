"""Structs of roles and permissions, with titles for user interfaces."""

import msgspec

from sidecar.http.policy_schemas import ConditionShown
from sidecar.http.schemas import ReasonName


class Cell(msgspec.Struct, frozen=True):
    """Action of a section, with the titles of both."""

    section: str
    section_title: str
    action: str
    action_title: str


class Permission(Cell, frozen=True):
    """Cell with the decision for the caller. ``unmet``: conditions that would do, if the cell's needs are not met.

    ``enrol``: kinds of second factors, one of which the caller has to enrol first.
    """

    decision: bool
    reason: ReasonName
    unmet: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    enrol: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


class Permissions(msgspec.Struct, frozen=True):
    """Cells of the caller's role. ``conditions``: titles of all that are unmet; absent if there are none."""

    role: str
    role_title: str
    generation: str
    permissions: list[Permission]
    conditions: list[ConditionShown] | msgspec.UnsetType = msgspec.UNSET


class Role(msgspec.Struct, frozen=True):
    """Role with its allowed cells.

    ``opens``: the sections in which it has at least one allowed action. ``everything``: it is allowed every cell.
    """

    id: str
    title: str
    description: str
    opens: list[str]
    permissions: list[Cell]
    everything: bool


class Roles(msgspec.Struct, frozen=True):
    roles: list[Role]
