"""``POST /v1/check``: the same decision for services, back ends and menus. A denial is 200 with ``decision: false``.

Its path is not under ``/check``, because a gateway treats any 200 as an allow (R1).
"""

from time import perf_counter
from typing import Annotated

import msgspec

from sidecar.domain.access import Target
from sidecar.domain.decision import Decision
from sidecar.domain.problems import Code, Problem
from sidecar.gateways.ext_authz import record_checks
from sidecar.http.request import Request, Response
from sidecar.http.schemas import ReasonName
from sidecar.policy.generation import Generation

ENDPOINT = "/v1/check"
MAX_CHECKS = 100

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One section and action."""

    section: Name
    action: Name


CheckList = Annotated[tuple[Check, ...], msgspec.Meta(min_length=1, max_length=MAX_CHECKS)]


class Checks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """1 to 100 checks."""

    checks: CheckList


class CheckBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `Check` or `Checks`. msgspec has no union of the two."""

    section: Name | msgspec.UnsetType = msgspec.UNSET
    action: Name | msgspec.UnsetType = msgspec.UNSET
    checks: CheckList | msgspec.UnsetType = msgspec.UNSET


class CheckResult(msgspec.Struct, frozen=True):
    """One decision. ``rule``: ``policy/policy.csv:LINE`` of the deciding rule, or null.

    ``unmet``: conditions that would do, if the cell's needs are not met.
    """

    decision: bool
    reason: ReasonName
    rule: str | None
    unmet: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


class CheckResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Response to a check.

    One pair: ``decision``, ``reason``, ``rule``, ``unmet``. ``checks``: ``decisions`` in the same order.
    """

    decision: bool | msgspec.UnsetType = msgspec.UNSET
    reason: ReasonName | msgspec.UnsetType = msgspec.UNSET
    rule: str | msgspec.UnsetType | None = msgspec.UNSET
    unmet: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    decisions: list[CheckResult] | msgspec.UnsetType = msgspec.UNSET
    generation: str


async def check(call: Request[CheckBody]) -> Response | Problem:
    """Decide one or several sections and actions, all with one generation and one record.

    Both are those of the request's own authorization. The address of the request is a service's, never the user's:
    conditions of networks are unmet.
    """
    started = perf_counter()
    targets = _targets(call.body)
    if targets is None:
        return Problem(Code.BAD_REQUEST, 'give "section" and "action", or "checks" with 1 to 100 of those pairs')
    generation = call.policy
    decisions = [call.app.pdp.evaluate(generation, call.caller.identity, target) for target in targets]
    record_checks(call.app, ENDPOINT, decisions, call.request_id, started)
    headers: tuple[tuple[str, str], ...] = (("X-Auth-Generation", generation.id),)
    if len(decisions) == 1:
        headers += (("X-Auth-Reason", decisions[0].reason.value),)
    single = decisions[0] if call.body.checks is msgspec.UNSET else None
    return Response(200, _body(call.body, decisions, generation), headers, single)


def _targets(body: CheckBody) -> list[Target] | None:
    if isinstance(body.checks, tuple):
        if body.section is not msgspec.UNSET or body.action is not msgspec.UNSET:
            return None
        return [Target(check.section, check.action) for check in body.checks]
    if isinstance(body.section, str) and isinstance(body.action, str):
        return [Target(body.section, body.action)]
    return None


def _body(body: CheckBody, decisions: list[Decision], generation: Generation) -> CheckResponse:
    if isinstance(body.checks, tuple):
        results = [
            CheckResult(one.allowed, one.reason, one.rule, msgspec.UNSET if one.missing is None else one.missing.names)
            for one in decisions
        ]
        return CheckResponse(decisions=results, generation=generation.id)
    (one,) = decisions
    unmet = msgspec.UNSET if one.missing is None else one.missing.names
    return CheckResponse(decision=one.allowed, reason=one.reason, rule=one.rule, unmet=unmet, generation=generation.id)
