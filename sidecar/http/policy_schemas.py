"""Response schemas of the policy endpoints, for the OpenAPI document and the tests."""

from typing import Annotated, Any, Literal

import msgspec

from sidecar.domain.users import Status
from sidecar.http.schemas import Count, ReasonName, When
from sidecar.pdp.activation import ActivationState
from sidecar.policy.diagnostics import Diagnostic

Line = Annotated[str, msgspec.Meta(description="policy/policy.csv:LINE")]
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


class ActivePolicySummary(msgspec.Struct, frozen=True):
    """The active policy.

    ``state`` compares it with the files on disk; ``rejected``: they are invalid, and the last valid generation stays
    active.
    """

    generation: str
    loaded_at: When
    state: ActivationState
    roles: list[PolicyRole]
    sections: list[PolicySection]


class CellShown(msgspec.Struct, frozen=True):
    """One cell of the matrix. ``rule``: the deciding line, or null if there is none."""

    role: str
    section: str
    action: str
    decision: bool
    reason: ReasonName
    rule: Line | None


class Matrix(msgspec.Struct, frozen=True):
    generation: str
    cells: list[CellShown]


class LineShown(msgspec.Struct, frozen=True):
    rule: Line
    text: str


class NearShown(msgspec.Struct, frozen=True):
    """The nearest allow rule that does not apply. ``mismatches``: in role or action; empty if a deny overrides it."""

    rule: Line
    text: str
    mismatches: list[Literal["role", "action"]]


class EditShown(msgspec.Struct, frozen=True):
    """One edit of policy.csv: write ``line``, remove it, or write it in place of ``rule``."""

    edit: Literal["write", "remove", "replace"]
    line: str
    rule: Line | None


class CellName(msgspec.Struct, frozen=True):
    role: str
    section: str
    action: str


class SideEffects(msgspec.Struct, frozen=True):
    """Other cells that ``edits`` would open: their count, and the first of them."""

    count: Count
    cells: list[CellName]


class Person(msgspec.Struct, frozen=True):
    id: str
    email: str
    name: str
    status: Status


class Explained(msgspec.Struct, frozen=True):
    """Explanation of a decision.

    ``path``: the ``g`` lines that led to the rule. ``nearest`` and ``edits``: of a denial. ``roles``: the allowed
    roles. ``hint``: the closest declared name, for a section or action that is not declared.
    A user who is denied by status gets that reason; ``rule`` and ``path`` then describe the role's permission.
    """

    role: str
    section: str
    action: str
    decision: bool
    reason: ReasonName
    hint: str | None
    rule: Line | None
    text: str | None
    path: list[LineShown]
    overridden: LineShown | None
    nearest: NearShown | None
    edits: list[EditShown]
    side_effects: SideEffects
    roles: list[str]
    generation: str
    user: Person | None


class ChangeShown(msgspec.Struct, frozen=True, rename={"before": "from", "after": "to"}):
    """A changed cell, and the users of the caller's account that it affects."""

    role: str
    section: str
    action: str
    before: Effect
    after: Effect
    users: list[Person]


class RouteShown(msgspec.Struct, frozen=True, rename={"before": "from", "after": "to"}):
    """A changed route: ``public``, ``unmatched`` or ``SECTION/ACTION``. ``opens``: it admits more users."""

    method: str
    path: str
    before: str
    after: str
    opens: bool


class Expectations(msgspec.Struct, frozen=True):
    passed: Count
    failed: list[dict[str, Any]]


class Omitted(msgspec.Struct, frozen=True):
    """Counts of omitted entries, so that the response stays under 1 MiB.

    ``diagnostics``: of the 500 that are kept per code and file. ``users``: of the shown changes.
    """

    diagnostics: Count
    changes: Count
    users: Count
    routes: Count
    failed: Count


class Preview(msgspec.Struct, frozen=True):
    """Result of a preview.

    ``valid``: it compiles and violates no invariant. A failed expectation keeps ``valid`` true, but prevents
    activation.
    """

    valid: bool
    diagnostics: list[Diagnostic]
    changes: list[ChangeShown]
    routes: list[RouteShown]
    expectations: Expectations
    omitted: Omitted
