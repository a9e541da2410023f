"""Policy over HTTP: the active policy, explanations of decisions, and previews of edits.

These endpoints are for the users of an account. Only the ops listener and the command line show data for operators:
findings about the files on disk, the fleet, paths (R27).
"""

import asyncio
from itertools import islice
from typing import Annotated, Final

import msgspec

from sidecar.api.serializers import rfc3339, when
from sidecar.domain.problems import Code, Problem
from sidecar.domain.users import Status, UserId, UserRecord
from sidecar.gateways.adapter import MAX_PATH
from sidecar.http.endpoint import Endpoint, RequirePermission
from sidecar.http.policy_schemas import (
    ActivePolicySummary,
    CellShown,
    ConditionShown,
    FleetShare,
    Generations,
    GenerationShown,
    Matrix,
    PolicyRole,
    PolicySection,
    Preview,
)
from sidecar.http.problems import not_found, refusal
from sidecar.http.request import Request, Response
from sidecar.identity.emails import normalise
from sidecar.identity.role_assignment import unknown
from sidecar.pdp.preview import MAX_BODY, PreviewBusy, PreviewResult, PreviewTooLarge
from sidecar.policy.decision_table import Cell, Ruling
from sidecar.policy.diagnostics import FILES
from sidecar.policy.explain import explain, explain_person
from sidecar.policy.explain_request import explain_request, path_problem
from sidecar.policy.explained import Explained, to_explained, to_person
from sidecar.policy.needs.table import Needs
from sidecar.store.outcomes import NoAccount
from sidecar.tokens.ids import account_of

CELLS_AT_ONCE: Final = 500
"""Cells that are encoded before other requests are served: 0.5 ms."""

CELLS_WITH_NEEDS_AT_ONCE: Final = 50
"""As above for a policy with needs. Each cell is compared with up to 200 lines."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=320)]
Path = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PATH, description="Percent-encoded, without query")]


# -- the active policy
# --------------------------------------------------------------------------------------------------


async def policy(call: Request[None]) -> Response:
    """Return the active policy (``GET /v1/policy``), as of now.

    It may be newer than the one that authorized the request.
    """
    activation = call.app.policy
    generation = activation.generation or call.policy
    roles = [
        PolicyRole(role.id, role.title, role.description, role.assignable, list(generation.closures[role.id][1:]))
        for role in generation.roles.values()
    ]
    sections = [PolicySection(one.id, one.title, list(one.actions)) for one in generation.sections.values()]
    loaded_at = rfc3339(int(activation.loaded_at))
    members = await call.app.people.fleet.members()
    serving = sum(member.get("generation") == generation.id for member in members)
    share = FleetShare(serving, len(members))
    return Response(200, ActivePolicySummary(generation.id, loaded_at, activation.state, share, roles, sections))


async def generations(call: Request[None]) -> Response:
    """Return the generations so far, newest first (``GET /v1/policy/generations``)."""
    turns = await call.app.policy_history.turns()
    shown = [
        GenerationShown(one.generation, rfc3339(one.first_at), when(one.last_at), one.noticed_by, one.direction)
        for one in turns
    ]
    return Response(200, Generations(shown, shown[0].generation if shown else call.policy.id))


async def matrix(call: Request[None]) -> Response:
    """Return all cells, and the conditions that some of them need (``GET /v1/policy/matrix``).

    A large matrix is encoded in chunks, between which checks are served.
    """
    needs = call.policy.needs
    at_once = CELLS_WITH_NEEDS_AT_ONCE if needs.active else CELLS_AT_ONCE
    cells = iter(call.policy.cells.items())
    pieces = []
    while piece := [_shown(cell, ruling, needs) for cell, ruling in islice(cells, at_once)]:
        pieces.append(msgspec.json.encode(piece)[1:-1])
        await asyncio.sleep(0)
    head = b'{"generation":"%s",' % call.policy.id.encode()
    if needs.active:
        used = {name for line in needs.lines for name in line.conditions}
        named = [ConditionShown(one.name, one.title) for one in needs.conditions.values() if one.name in used]
        head += b'"conditions":%s,' % msgspec.json.encode(named)
    return Response(200, head + b'"cells":[%s]}' % b",".join(pieces), _JSON)


_JSON: Final = (("Content-Type", "application/json"),)


def _shown(cell: Cell, ruling: Ruling, needs: Needs) -> CellShown:
    if needs.of(*cell) is None:
        return CellShown(*cell, ruling.allowed, ruling.reason, ruling.rule)
    lines = [list(line.conditions) for line in needs.lines_of(*cell)]
    return CellShown(*cell, ruling.allowed, ruling.reason, ruling.rule, lines)


# -- explanations
# -------------------------------------------------------------------------------------------------------


class ExplainQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Query of an explanation: ``section`` and ``action``, or ``method`` and ``path`` of a request.

    ``user``: id or e-mail in the caller's account. Without ``user`` and ``role``: the caller.
    """

    section: Name | None = None
    action: Name | None = None
    method: Name | None = None
    path: Path | None = None
    user: Name | None = None
    role: Name | None = None


async def why(call: Request[None]) -> Response | Problem:
    """Explain a decision (``GET /v1/policy/explain``). The status of a user overrides the permissions of the role."""
    try:
        query = msgspec.convert(dict(call.query), ExplainQuery)
    except msgspec.ValidationError as error:
        return Problem(Code.BAD_REQUEST, f"give {_SUBJECTS}, and user or role: {error}")
    if query.user is not None and query.role is not None:
        return Problem(Code.BAD_REQUEST, "give user or role, not both")
    wrong = _query_problem(query)
    if wrong:
        return Problem(Code.BAD_REQUEST, wrong)
    record = None
    if query.role is None:
        record = call.caller.record if query.user is None else await _user(call, query.user)
        if record is None:
            return not_found("user")
    elif query.role not in call.policy.roles:
        return refusal(unknown(call.policy, query.role))
    role = query.role or (record.role if record else "")
    if query.path is not None and query.method is not None:
        found = explain_request(call.policy, role, query.method, query.path, person=record)
    elif record is None:
        found = explain(call.policy, role, query.section or "", query.action or "")
    else:
        found = explain_person(call.policy, record, query.section or "", query.action or "")
    return Response(200, to_explained(found))


_SUBJECTS: Final = "section and action, or method and path"


def _query_problem(query: ExplainQuery) -> str:
    """Return the fault of a query; empty if it names one cell or one request."""
    cell, request = (query.section, query.action), (query.method, query.path)
    if (None in cell) is (None in request) or any(cell if None in cell else request):
        return f"give {_SUBJECTS}"
    return "" if query.path is None else path_problem(query.path)


async def _user(call: Request[None], named: str) -> UserRecord | None:
    """Return a user of the caller's own account by id or e-mail, or None."""
    account, users = call.caller.record.account, call.app.people.users
    uid: UserId | None = None
    if account_of(named) == account:
        uid = UserId(named)
    elif (email := normalise(named)) is not None:
        uid = await users.find(account, email)
    return None if uid is None else await users.record(uid)


# -- previews
# -----------------------------------------------------------------------------------------------------------


class PreviewBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whole files by bare name (``policy.csv``). The active version replaces omitted ones."""

    files: dict[Annotated[str, msgspec.Meta(max_length=64)], str]


async def preview(call: Request[PreviewBody]) -> Response | Problem:
    """Return the changes that edited files would cause, and the affected users (``POST /v1/policy/preview``).

    The active policy stays unchanged.
    """
    strange = next((name for name in call.body.files if name not in FILES), None)
    if strange is not None:
        return Problem(Code.BAD_REQUEST, f"unknown policy file; expected {', '.join(FILES)}")
    edited = {name: text.encode() for name, text in call.body.files.items()}
    if sum(map(len, edited.values())) > MAX_BODY:
        return Problem(Code.TOO_LARGE, f"the files are over {MAX_BODY} bytes; `sidecar policy diff` has no limits")
    account = call.caller.record.account
    roster = await call.app.people.users.roster(account)
    if isinstance(roster, NoAccount):
        return not_found("account")
    people: dict[str, list[dict[str, str | int | bool]]] = {}
    for member in roster.members:
        if member.record.status is Status.EXPIRED:
            continue
        facts = {"factors": len(member.record.factors), "token_only": member.token_only}
        holder = {**msgspec.to_builtins(to_person(member.record)), **facts}
        people.setdefault(member.record.role, []).append(holder)
    outcome = await call.app.previews.preview(account, call.policy, edited, people)
    match outcome:
        case PreviewResult(body):
            return Response(200, body, _JSON)
        case PreviewTooLarge(reason):
            return Problem(Code.TOO_LARGE, reason)
        case PreviewBusy():
            return Problem(
                Code.RATE_LIMITED, "another preview is running; try again when it has finished", retry_after=1
            )


_VIEW: Final = RequirePermission("policy", "view")

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/v1/policy", _VIEW, policy, "The policy in force", response_schema=ActivePolicySummary),
    Endpoint(
        "GET",
        "/v1/policy/generations",
        _VIEW,
        generations,
        "Generations of the policy so far",
        response_schema=Generations,
    ),
    Endpoint(
        "GET",
        "/v1/policy/matrix",
        _VIEW,
        matrix,
        "All decisions of the policy, with their rules",
        response_schema=Matrix,
    ),
    Endpoint(
        "GET",
        "/v1/policy/explain",
        _VIEW,
        why,
        "Explain a decision, and list the edits that would change it",
        statuses=(200, 400, 404, 422),
        response_schema=Explained,
        query=ExplainQuery,
    ),
    Endpoint(
        "POST",
        "/v1/policy/preview",
        RequirePermission("policy", "preview"),
        preview,
        "Preview the changes of an edit, and the affected users",
        PreviewBody,
        statuses=(200, 400, 413, 429),
        max_body=MAX_BODY,
        response_schema=Preview,
    ),
)
