"""AuthZEN 1.0 Access Evaluation, Access Evaluations and metadata.

A denial is 200 with ``decision: false`` and the reason; items of a batch have ``decision`` alone. An undetermined
decision is 503, because a PEP would take a denial for the policy's decision.
"""

from time import perf_counter
from typing import Final

import msgspec

from sidecar.api.authzen import problems, schemas
from sidecar.api.authzen.requests import (
    MAX_BATCH_BYTES,
    Batch,
    Context,
    Evaluation,
    Semantic,
    batch_of,
    evaluation_in,
    evaluation_of,
    members_of,
)
from sidecar.domain.access import Subject
from sidecar.domain.decision import Decision, Reason
from sidecar.domain.peps import Scope
from sidecar.gateways.ext_authz import record_check
from sidecar.http.endpoint import Endpoint, Require, RequireScope
from sidecar.http.json_body import InvalidBodyError
from sidecar.http.request import RawBody, Request, Response
from sidecar.pdp.evaluation import Circumstances, ResolvedSubject, evaluate, evaluate_own
from sidecar.policy.route_notes import for_ones_own

EVALUATION: Final = "/access/v1/evaluation"
EVALUATIONS: Final = "/access/v1/evaluations"
SEARCH: Final = "/access/v1/search/"
METADATA: Final = "/.well-known/authzen-configuration"

_CACHED: Final = (("Cache-Control", "public, max-age=3600"),)


async def evaluation(call: Request[RawBody]) -> Response:
    """Decide one question (``POST /access/v1/evaluation``)."""
    return await _single(call, evaluation_in(call.body), EVALUATION)


async def evaluations(call: Request[RawBody]) -> Response:
    """Decide a batch (``POST /access/v1/evaluations``), with one generation, and one record per subject."""
    sent = members_of(call.body)
    batch = batch_of(sent)
    if batch is None:
        return await _single(call, evaluation_of(sent), EVALUATIONS)
    call.app.pep_keys.charge(call.pep, len(batch.evaluations) - 1)
    return Response(200, schemas.Decisions(evaluations=[schemas.Item(one) for one in await _run(call, batch)]))


async def _single(call: Request[RawBody], request: Evaluation, endpoint: str) -> Response:
    started = perf_counter()
    resolved = await call.app.subjects.find(call.policy, call.pep.account, request.subject)
    decision = evaluate(
        call.policy, resolved, request.action, request.resource, circumstances_of(call, request.context)
    )
    record_check(call.app, endpoint, decision, call.request_id, started)
    repeated = decision if decision.user is not None and decision.user.id == request.subject.id else None
    if decision.allowed:  # no further members, which a PEP would have to support
        return Response(200, schemas.Decision(True), decision=repeated)
    unmet = decision.missing.names if decision.missing else msgspec.UNSET
    note = _note(call, request, resolved) if decision.reason is Reason.NOT_YOURS else msgspec.UNSET
    return Response(200, schemas.Decision(False, schemas.ReasonContext(decision.reason, unmet, note)), (), repeated)


def _note(call: Request[RawBody], request: Evaluation, resolved: ResolvedSubject | Reason) -> str | msgspec.UnsetType:
    """Return the decision for one's own path, for a role, which has no id. A user's denial has no note."""
    if isinstance(resolved, Reason) or resolved.record is not None:
        return msgspec.UNSET
    facts = circumstances_of(call, request.context)
    own = evaluate_own(call.policy, resolved, request.action, request.resource, facts)
    return msgspec.UNSET if own is None else for_ones_own(allowed=own.allowed, why=own.reason)


def circumstances_of(call: Request[RawBody], context: Context) -> Circumstances:
    """Return the facts of a request at this instant."""
    return Circumstances(call.app.pdp.clock(), call.app.pdp.leeway, context.client, context.session)


async def _run(call: Request[RawBody], batch: Batch) -> list[bool]:
    """Return the decisions in order, fewer than the batch if its semantic stops early."""
    stop = {Semantic.DENY_ON_FIRST_DENY: False, Semantic.PERMIT_ON_FIRST_PERMIT: True}.get(batch.semantic)
    known: dict[Subject, ResolvedSubject | Reason] = {}
    answers: list[bool] = []
    for request in batch.evaluations:
        started = perf_counter()
        decision = await _decide(call, request, known)
        record_check(call.app, EVALUATIONS, decision, call.request_id, started)
        answers.append(decision.allowed)
        if decision.allowed is stop:
            break
    return answers


async def _decide(
    call: Request[RawBody], request: Evaluation | InvalidBodyError, known: dict[Subject, ResolvedSubject | Reason]
) -> Decision:
    if isinstance(request, InvalidBodyError):
        return Decision(Reason.BAD_REQUEST, call.policy.id)
    resolved = known.get(request.subject)
    if resolved is None:
        resolved = known[request.subject] = await call.app.subjects.find(call.policy, call.pep.account, request.subject)
    circumstances = circumstances_of(call, request.context)
    return evaluate(call.policy, resolved, request.action, request.resource, circumstances)


async def metadata(call: Request[None]) -> Response:
    """Return the metadata (``GET /.well-known/authzen-configuration``). Absent members are unsupported."""
    public_config = call.app.public_config
    base = (public_config.pdp_url or public_config.public_url).rstrip("/")
    return Response(
        200,
        schemas.Metadata(
            policy_decision_point=base,
            access_evaluation_endpoint=base + EVALUATION,
            access_evaluations_endpoint=base + EVALUATIONS,
            search_subject_endpoint=f"{base}{SEARCH}subject",
            search_resource_endpoint=f"{base}{SEARCH}resource",
            search_action_endpoint=f"{base}{SEARCH}action",
        ),
        _CACHED,
    )


STATUSES: Final = (200, 400, 401, 403, 413, 429, 503)
_EVALUATE: Final = RequireScope(Scope.EVALUATE)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "POST",
        EVALUATION,
        _EVALUATE,
        evaluation,
        "AuthZEN: decide one question",
        RawBody,
        statuses=STATUSES,
        render_problem=problems.render_problem,
        at_least=True,
        response_schema=schemas.Decision,
        request_schemas=(schemas.Evaluation,),
    ),
    Endpoint(
        "POST",
        EVALUATIONS,
        _EVALUATE,
        evaluations,
        "AuthZEN: 1 to 1,000 questions at once",
        RawBody,
        statuses=STATUSES,
        render_problem=problems.render_problem,
        at_least=True,
        max_body=MAX_BATCH_BYTES,
        response_schema=schemas.Decisions,
        request_schemas=(schemas.Evaluations, schemas.Evaluation),
    ),
    Endpoint(
        "GET",
        METADATA,
        Require.OPEN,
        metadata,
        "AuthZEN: metadata of this policy decision point",
        response_schema=schemas.Metadata,
    ),
)
