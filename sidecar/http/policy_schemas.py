"""What the policy's endpoints answer: shapes for the OpenAPI document and for the tests."""

from typing import Annotated, Any, Literal

import msgspec

from sidecar.domain.users import Status
from sidecar.http.schemas import Count, ReasonName, When
from sidecar.pdp.activation import State
from sidecar.policy.diagnostics import Severity

Line = Annotated[str, msgspec.Meta(description="policy/policy.csv:LINE")]
Effect = Literal["allow", "deny"]


class PolicyRole(msgspec.Struct, frozen=True):
    """``inherits``: the roles whose cells it has besides its own, nearest first."""

    id: str
    title: str
    description: str
    assignable: bool
    inherits: list[str]


class PolicySection(msgspec.Struct, frozen=True):
    id: str
    title: str
    actions: list[str]


class InForce(msgspec.Struct, frozen=True):
    """``state``: do the files on disk say what is in force? ``rejected``: they are refused, the last good serve on."""

    generation: str
    loaded_at: When
    state: State
    roles: list[PolicyRole]
    sections: list[PolicySection]


class CellShown(msgspec.Struct, frozen=True):
    """``rule``: the line that decided, null where none did."""

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
    """An allow that does not reach: it ``differs`` in this, or in nothing when a deny overrides it."""

    rule: Line
    text: str
    differs: list[Literal["role", "action"]]


class EditShown(msgspec.Struct, frozen=True):
    """What to do with a line of policy.csv: write ``line``, remove it, or write it in place of ``rule``."""

    do: Literal["write", "remove", "replace"]
    line: str
    rule: Line | None


class CellName(msgspec.Struct, frozen=True):
    role: str
    section: str
    action: str


class Also(msgspec.Struct, frozen=True):
    """The other cells that ``flip`` would open: how many, and the first of them."""

    count: Count
    cells: list[CellName]


class Person(msgspec.Struct, frozen=True):
    id: str
    email: str
    name: str
    status: Status


class Explained(msgspec.Struct, frozen=True):
    """``path``: the ``g`` lines that led to the rule. ``nearest`` and ``flip``: of a deny; ``roles``: who may.
    ``hint``: of a section or action that is not declared, what was probably meant. Whoever may not act is denied for
    that; ``rule`` and ``path`` then tell what the role is given."""

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
    flip: list[EditShown]
    also: Also
    roles: list[str]
    generation: str
    user: Person | None


class DiagnosticShown(msgspec.Struct, frozen=True):
    """Contract section 7."""

    severity: Severity
    code: str
    file: str
    line: int
    column: int
    message: str
    hint: str


class ChangeShown(msgspec.Struct, frozen=True, rename={"before": "from", "after": "to"}):
    """A cell, and the people of my account whom the change touches."""

    role: str
    section: str
    action: str
    before: Effect
    after: Effect
    users: list[Person]


class RouteShown(msgspec.Struct, frozen=True, rename={"before": "from", "after": "to"}):
    """Requests that lead elsewhere: ``public``, ``unmatched`` or ``SECTION/ACTION``. ``opens``: more people get in."""

    method: str
    path: str
    before: str
    after: str
    opens: bool


class Expectations(msgspec.Struct, frozen=True):
    passed: Count
    failed: list[dict[str, Any]]


class Omitted(msgspec.Struct, frozen=True):
    """How many of each the answer leaves out, so that it stays under a mebibyte. ``diagnostics``: of the 500 of a
    code and file that are kept. ``users``: of the changes shown."""

    diagnostics: Count
    changes: Count
    users: Count
    routes: Count
    failed: Count


class Preview(msgspec.Struct, frozen=True):
    """``valid``: it compiles and breaks no invariant. A failed expectation leaves it true; activated it is not."""

    valid: bool
    diagnostics: list[DiagnosticShown]
    changes: list[ChangeShown]
    routes: list[RouteShown]
    expectations: Expectations
    omitted: Omitted
