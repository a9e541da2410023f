"""Response schemas of the policy endpoints, for the OpenAPI document and the tests."""

from typing import Any, Literal

import msgspec

from sidecar.http.schemas import Count, ReasonName, When
from sidecar.pdp.policy_holder import ActivationState
from sidecar.policy.diagnostics import Diagnostic
from sidecar.policy.diff import CellChange, RenameChange, RouteChange
from sidecar.policy.explained import Line, Person
from sidecar.store.policy_history import Direction, Noticed

Effect = Literal["allow", "deny"]


class PolicyRole(msgspec.Struct, frozen=True):
    """A role. ``inherits``: inherited roles, nearest first."""

    id: str
    title: str
    description: str
    assignable: bool
    inherits: list[str]


class PolicySection(msgspec.Struct, frozen=True):
    id: str
    title: str
    actions: list[str]


class Holder(Person, frozen=True):
    """User who holds a role. ``factors``: number of second factors. ``token_only``: no session began in a browser."""

    factors: Count
    token_only: bool


class FleetShare(msgspec.Struct, frozen=True):
    """Number of the live sidecars, and of those that serve the same generation."""

    in_force: Count
    live: Count


class ActivePolicySummary(msgspec.Struct, frozen=True):
    """The active policy.

    ``state`` compares it with the files on disk; ``rejected``: they are invalid, and the last valid generation stays
    active. ``sidecars``: numbers alone, because names and paths are for operators (R27).
    """

    generation: str
    loaded_at: When
    state: ActivationState
    sidecars: FleetShare
    roles: list[PolicyRole]
    sections: list[PolicySection]


class GenerationShown(msgspec.Struct, frozen=True):
    """A generation while it was the newest. ``last_at`` is null for the current one.

    ``noticed_by``: a sidecar that started with it, or one that read an edit. ``direction``: ``back`` to an earlier one.
    """

    generation: str
    first_at: When
    last_at: When | None
    noticed_by: Noticed
    direction: Direction


class Generations(msgspec.Struct, frozen=True):
    """Generations so far, newest first; the last 200. ``current``: the newest of all sidecars."""

    generations: list[GenerationShown]
    current: str


class ShadowedCell(msgspec.Struct, frozen=True, rename={"before": "from", "after": "to"}):
    """Cell in which a candidate would decide otherwise. ``users``: ids, at most 20."""

    role: str
    section: str
    action: str
    before: Effect
    after: Effect
    times: Count
    users: list[str]


class PolicyShadow(msgspec.Struct, frozen=True):
    """Policy that is being applied; ``candidate`` is null without one. ``ready``: sidecars that have accepted it.

    ``until``: end of its shadow, or null. ``changes``: decisions of the reader's account alone.
    """

    candidate: str | None
    ready: Count
    sidecars: Count
    until: When | None
    changes: list[ShadowedCell]


class CellShown(msgspec.Struct, frozen=True):
    """One cell of the matrix. ``rule``: the deciding line, or null if there is none.

    ``needs``: conditions of an allowed cell. One of each list must be met.
    """

    role: str
    section: str
    action: str
    decision: bool
    reason: ReasonName
    rule: Line | None
    needs: list[list[str]] | msgspec.UnsetType = msgspec.UNSET


class ConditionShown(msgspec.Struct, frozen=True):
    """A condition that some cell needs, in the order of conditions.toml."""

    name: str
    title: str


class Matrix(msgspec.Struct, frozen=True):
    """All cells. ``conditions``: absent if no cell has needs."""

    generation: str
    cells: list[CellShown]
    conditions: list[ConditionShown] | msgspec.UnsetType = msgspec.UNSET


class ChangeShown(CellChange, frozen=True, kw_only=True):
    """A changed cell, and the users of the caller's account that it affects.

    ``needs_factor``: the cell needs a second factor after the edit.
    """

    users: list[Holder]
    needs_factor: bool = False


class Expectations(msgspec.Struct, frozen=True):
    passed: Count
    failed: list[dict[str, Any]]


class Omitted(msgspec.Struct, frozen=True):
    """Counts of omitted entries, so that the response stays under 1 MiB.

    ``diagnostics``: of the 500 that are kept per code and file. ``users``: of the shown changes.
    """

    diagnostics: Count
    renames: Count
    changes: Count
    users: Count
    routes: Count
    failed: Count


class Preview(msgspec.Struct, frozen=True):
    """Result of a preview. ``generation``: the active policy, with which the edit is compared.

    ``valid``: it compiles and violates no invariant. A failed expectation keeps ``valid`` true, but prevents
    activation. ``changes`` and ``routes`` are those beside the ``renames``, under the new names.
    """

    generation: str
    valid: bool
    diagnostics: list[Diagnostic]
    renames: list[RenameChange]
    changes: list[ChangeShown]
    routes: list[RouteChange]
    expectations: Expectations
    omitted: Omitted
