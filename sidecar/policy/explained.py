"""JSON form of an explanation, for API, CLI and console."""

from collections.abc import Callable
from typing import Annotated, Final, Literal

import msgspec

from sidecar.domain.decision import Reason
from sidecar.domain.users import Status, UserRecord
from sidecar.policy.explain import Edit, EditKind, Explanation
from sidecar.policy.needs.lines import NeedLine
from sidecar.policy.route_notes import RequestMatch, route_id, route_text
from sidecar.policy.rules import Inheritance, Rule

SHOWN_CELLS: Final = 20
"""Maximum number of cells of ``side_effects``, and of ``expectations``. The count of the former covers all of them."""

RouteLine = Annotated[str, msgspec.Meta(description="policy/sections.toml:LINE")]
Line = Annotated[str, msgspec.Meta(description="policy/policy.csv:LINE, or of another file")]


class LineShown(msgspec.Struct, frozen=True):
    rule: Line
    text: str


class NearShown(msgspec.Struct, frozen=True):
    """The nearest allow rule that does not apply. ``mismatches``: in role or action; empty if a deny overrides it."""

    rule: Line
    text: str
    mismatches: list[Literal["role", "action"]]


class EditShown(msgspec.Struct, frozen=True):
    """One edit of a file: write ``line``, remove it, or write it in place of ``rule``."""

    edit: EditKind
    line: str
    rule: Line | None


class CellName(msgspec.Struct, frozen=True):
    role: str
    section: str
    action: str


class SideEffects(msgspec.Struct, frozen=True):
    """Other cells that ``edits`` would open: their count, and the first of them."""

    count: Annotated[int, msgspec.Meta(ge=0)]
    cells: list[CellName]


class Person(msgspec.Struct, frozen=True):
    id: str
    email: str
    name: str
    status: Status


class RequestShown(msgspec.Struct, frozen=True):
    """Request that is explained, and its deciding route, null if there is none.

    ``target``: ``public``, ``unmatched``, ``SECTION/ACTION``, or ``own SECTION/ACTION`` for a path with own segments.
    """

    method: str
    path: str
    target: str
    route: RouteLine | None
    pattern: str | None


class Explained(msgspec.Struct, frozen=True, omit_defaults=True):
    """Explanation of a decision.

    ``path``: the ``g`` lines that led to the rule. ``nearest`` and ``edits`` (of policy.csv): of a denial.
    ``expectations``: the edits of expectations.csv that ``edits`` require. ``roles``: the allowed roles.
    ``hint``: the closest declared name, for a section or action that is not declared; for a request without a route the
    reason.
    ``needs``: the lines of needs.csv for the cell. ``unmet``: conditions that would do, if only needs deny; ``sign_in``
    then means that signing in meets all of them.
    ``request``: of an explanation by method and path; ``section`` and ``action`` are empty if no section has it.
    ``own``: routes of the cell with own segments; ``note`` then names the checks that cannot know the path. For a role
    on a path with own segments, ``note`` is the decision for one's own.
    A user who is denied by status gets that reason; ``rule`` and ``path`` then describe the role's permission.
    """

    role: str
    section: str
    action: str
    decision: bool
    reason: Reason
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
    needs: list[LineShown] = []
    unmet: list[str] = []
    sign_in: bool = False
    expectations: list[EditShown] = []
    request: RequestShown | None = None
    own: list[LineShown] = []
    note: str = ""


_MISMATCHES: Final[tuple[Literal["role", "action"], ...]] = ("role", "action")


def _unchanged(path: str) -> str:
    return path


def to_explained(found: Explanation, name_of: Callable[[str], str] = _unchanged) -> Explained:
    """Return the JSON form. ``name_of`` converts ``policy/policy.csv:12`` to a path for the reader."""

    def shown(rule: Rule | Inheritance | NeedLine) -> LineShown:
        return LineShown(name_of(rule.id), rule.text)

    def changed(edit: Edit) -> EditShown:
        return EditShown(edit.kind, edit.line, name_of(edit.rule) if edit.rule else None)

    near = found.nearest
    return Explained(
        role=found.role,
        section=found.section,
        action=found.action,
        decision=found.allowed,
        reason=found.ruling.reason,
        hint=found.hint or None,
        rule=None if found.rule is None else name_of(found.rule.id),
        text=None if found.rule is None else found.rule.text,
        path=[shown(link) for link in found.path],
        overridden=None if found.overridden is None else shown(found.overridden),
        nearest=None
        if near is None
        else NearShown(
            name_of(near.rule.id), near.rule.text, [name for name in _MISMATCHES if name in near.mismatches]
        ),
        edits=[changed(edit) for edit in found.edits_to_flip],
        side_effects=SideEffects(
            len(found.side_effects), [CellName(*cell) for cell in found.side_effects[:SHOWN_CELLS]]
        ),
        roles=list(found.roles),
        generation=found.generation,
        user=None if found.person is None else to_person(found.person),
        needs=[shown(line) for line in found.needs],
        unmet=list(found.unmet),
        sign_in=found.sign_in,
        expectations=[changed(edit) for edit in found.test_edits[:SHOWN_CELLS]],
        request=None if found.request is None else _request(found.request, name_of),
        own=[LineShown(name_of(route_id(route)), route_text(route)) for route in found.own_routes],
        note=found.note,
    )


def _request(request: RequestMatch, name_of: Callable[[str], str]) -> RequestShown:
    route = request.route
    where, pattern = (None, None) if route is None else (name_of(route_id(route)), route.path)
    return RequestShown(request.method, request.path, request.target, where, pattern)


def to_person(record: UserRecord) -> Person:
    return Person(record.id, record.email, record.name, record.status)
