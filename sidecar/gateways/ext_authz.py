"""Gateway check handler: the path selects the adapter, the adapter reads the request, the PDP decides.

Any error here is a denial, because a gateway may be configured to let the request pass on a 5xx.
"""

from collections.abc import Sequence
from time import perf_counter

from sidecar.domain.access import CredentialSource, Question, RequestPath
from sidecar.domain.decision import Decision, Reason, Verdict
from sidecar.gateways import envoy_http, forwarded, nginx, section
from sidecar.gateways.adapter import OVERRIDES, GatewayAdapter, GatewayRequest
from sidecar.gateways.cookie_filter import kept_cookies
from sidecar.gateways.denial_causes import EXPLAINED, cause_of, log_denial
from sidecar.gateways.login_redirect import is_navigation
from sidecar.http.client_ip import Address, proven_address
from sidecar.http.context import AppContext
from sidecar.http.credentials import credential
from sidecar.http.csrf import same_site, same_site_section
from sidecar.http.denial_causes import Cause
from sidecar.http.denial_log import DENIAL_LOG
from sidecar.http.headers import RawHeaders
from sidecar.http.response import RawResponse, gateway_response, redirected, rewritten, step_up_name, with_removals
from sidecar.pdp.decision_point import PendingDecision
from sidecar.policy.routes import Outcome
from sidecar.telemetry.app_log import debugging, logger
from sidecar.telemetry.check_recorder import LogEntryTemplate
from sidecar.telemetry.decision_log import in_quotes

PREFIX = "/check"
EXACT: dict[str, GatewayAdapter] = {forwarded.PATH: forwarded.FAMILY, nginx.PATH: nginx.FAMILY}
NO_USER = GatewayAdapter("/check/…", lambda _call: Reason.BAD_REQUEST)
"""Adapter for other paths under ``/check``: always denies, because a gateway may be configured to such a path."""
READING_ACTION = "view"
HEADERS_READ = frozenset(
    {
        b"accept",
        b"authorization",
        b"cookie",
        b"http2-settings",
        b"origin",
        b"sec-fetch-dest",
        b"sec-fetch-mode",
        b"sec-fetch-site",
        b"sec-websocket-key",
        b"sec-websocket-version",
        b"upgrade",
        b"x-forwarded-method",
        b"x-forwarded-uri",
        b"x-original-method",
        b"x-original-uri",
        b"x-original-url",
        b"x-requested-with",
        b"x-sent-from",
        *OVERRIDES,
    }
)
"""Lower-case names of the headers that affect the response. Both request paths may omit all others."""

_log = logger("gateways")


def is_check(path: str) -> bool:
    """Return True for a check endpoint.

    ``path``: without query. Everything at or below ``/check`` is a gateway check.
    """
    return path == PREFIX or path.startswith("/check/")


def family_of(path: str) -> GatewayAdapter:
    """Return the adapter for a path. There is a closed list of them, so the label is safe in metrics and logs."""
    exact = EXACT.get(path)
    if exact is not None:
        return exact
    if path.startswith("/check/envoy/"):
        return envoy_http.FAMILY
    return section.FAMILY if path.startswith(section.PREFIX) else NO_USER


def gateway_call(
    method: str, path: str, query: str, headers: RawHeaders, client: Address | None = None
) -> GatewayRequest:
    """Return the check request as received. Only its adapter interprets it."""
    return GatewayRequest(family_of(path), method, path, query, headers, client)


def cuts_networks(app: AppContext) -> bool:
    """Return whether the policy in force has needs with conditions of networks, so that addresses matter."""
    generation = app.policy.generation
    return generation is not None and generation.needs.cuts_networks


def client_of(app: AppContext, peer: str | None, headers: RawHeaders) -> Address | None:
    """Return the user's own address in a check. None: it is not known, or does not matter.

    ``peer`` is None on a Unix socket. ``headers``: all lines of the check.
    """
    return proven_address(peer, headers, app.public_config.trusted_proxies) if cuts_networks(app) else None


def network_of(app: AppContext, client: Address | None) -> int:
    """Return the network class of a client, for keys of cached responses (R40)."""
    generation = app.policy.generation
    return 0 if generation is None or client is None else generation.needs.network_class(client)


async def answer_check(app: AppContext, call: GatewayRequest, request_id: bytes) -> RawResponse:
    """Process one check, from headers to response. Never raises."""
    started = perf_counter()
    outcome = decide_now(app, call)
    decision = outcome if isinstance(outcome, Decision) else await decide_with_store(app, outcome)
    return respond(app, call, decision, request_id, started)


def decide_now(app: AppContext, call: GatewayRequest) -> Decision | PendingDecision:
    """Decide without I/O, or return the pending check that needs the store. Never raises."""
    return decide_question(app, call, question_of(app, call))


def question_of(app: AppContext, call: GatewayRequest) -> Question | Decision:
    """Return the question of a check, or the denial of a check without one. Never raises."""
    try:
        question = read_question(app, call)
        if not isinstance(question, Reason):
            return question
        generation = app.policy.generation
        return Decision(question, generation.id if generation else "")
    except Exception:
        return _failed(call.family.label)


def decide_question(app: AppContext, call: GatewayRequest, question: Question | Decision) -> Decision | PendingDecision:
    """Decide the result of `question_of` as `decide_now` does. Never raises."""
    if isinstance(question, Decision):
        return question
    try:
        return app.pdp.check_now(question)
    except Exception:
        return _failed(call.family.label)


async def decide_with_store(app: AppContext, question: PendingDecision) -> Decision:
    """Decide a check that needs the store. Never raises."""
    try:
        return await app.pdp.close(question)
    except Exception:
        return _failed(PREFIX)


def respond(
    app: AppContext,
    call: GatewayRequest,
    decision: Decision,
    request_id: bytes,
    started: float,
    detail: str | None = None,
) -> RawResponse:
    """Count and log a decision, and return its response for the gateway. Never raises.

    ``detail``: that of `explain`'s cause, if already called.
    """
    unavailable = app.public_config.unavailable_status
    ended = perf_counter()
    try:
        app.recorder.record(log_entry_for(app, call.family.label, decision), request_id, started, ended)
        if detail is None:
            cause = explain(app, call, decision, request_id)
            detail = cause.detail if cause else ""
        answer = gateway_response(decision, unavailable=unavailable, detail=detail)
        return _adapt_response(call, app, decision, answer)
    except Exception:
        return gateway_response(_failed(call.family.label), unavailable=unavailable)


def explain(app: AppContext, call: GatewayRequest, decision: Decision, request_id: bytes) -> Cause | None:
    """Log a denial, and return its cause if an operator can fix it. Never raises."""
    if decision.allowed:
        return None
    try:
        log_denial(call, decision, request_id)
        cause = cause_of(app, call, decision) if decision.reason in EXPLAINED else None
    except Exception:  # most likely the exception that `decide_now` has logged
        return None
    if cause is not None:
        DENIAL_LOG.cause(cause, call.family.label)
    return cause


def is_repeatable(decision: Decision) -> bool:
    """Return True if the response may be cached: at debug level, each denied request has its own log line."""
    return decision.allowed or not debugging()


def follows_from_decision(app: AppContext, call: GatewayRequest, decision: Decision) -> bool:
    """Return True if the response is ``gateway_response`` of the decision, independent of the request."""
    family = call.family
    if decision.allowed:
        return not family.forwards_cookie or (not family.lists_headers_to_remove and not kept_cookies(call.headers))
    return app.public_config.login_page is None or family.uri is None


def read_question(app: AppContext, call: GatewayRequest) -> Question | Reason:
    """Return the question of a check request, or the reason for rejecting it."""
    target = call.family.read(call)
    if isinstance(target, Reason):
        return target
    credentials = credential(call.headers, app.public_config.cookie)
    if isinstance(credentials, Reason):
        return credentials
    if credentials.proof is not CredentialSource.COOKIE:
        return Question(target, credentials, client=call.client)
    origins = app.public_config.origins
    if isinstance(target, RequestPath):
        own = same_site(call.headers, method=target.method, origins=origins)
        return Question(target, credentials, own, call.client)
    reads = target.action == READING_ACTION
    return Question(target, credentials, same_site_section(call.headers, reads=reads, origins=origins), call.client)


def outcome_of(app: AppContext, call: GatewayRequest) -> Outcome | None:
    """Return the section and action of a check request, or what its path maps to. None if unknown. Never raises."""
    try:
        requested = call.family.read(call)
        return None if isinstance(requested, Reason) else app.pdp.target_of(requested)
    except Exception:
        return None  # `decide_now` raises and logs the same exception


def log_entry_for(app: AppContext, endpoint: str, decision: Decision) -> LogEntryTemplate:
    """Return the log entry for ``decision``. Undeclared sections do not become metric labels."""
    generation = app.policy.generation
    known = generation is not None and decision.section in generation.sections
    return app.recorder.log_entry(endpoint, decision, decision.section if known else "")


def record_check(app: AppContext, endpoint: str, decision: Decision, request_id: str, started: float) -> None:
    """Count and log a check with another response format, just decided. ``request_id``: any text."""
    app.recorder.record(log_entry_for(app, endpoint, decision), in_quotes(request_id), started, perf_counter())


def record_checks(
    app: AppContext, endpoint: str, decisions: Sequence[Decision], request_id: str, started: float
) -> None:
    """Count and log the checks of one request, just decided. Each gets an equal share of the time."""
    ended = perf_counter()
    started, quoted = ended - (ended - started) / len(decisions), in_quotes(request_id)
    for decision in decisions:
        app.recorder.record(log_entry_for(app, endpoint, decision), quoted, started, ended)


def _adapt_response(call: GatewayRequest, app: AppContext, decision: Decision, answer: RawResponse) -> RawResponse:
    """Adapt a response to the gateway: Cookie header, header removal, login redirect."""
    family = call.family
    if decision.allowed:
        if not family.forwards_cookie:
            return answer
        cookie = kept_cookies(call.headers)
        answer = rewritten(answer, cookie)
        return with_removals(answer, cookie) if family.lists_headers_to_remove else answer
    page = app.public_config.login_page
    if page is None or family.uri is None or decision.reason.verdict is not Verdict.UNAUTHENTICATED:
        return answer
    requested = family.read(call)
    if not isinstance(requested, RequestPath) or requested.method != "GET" or not is_navigation(call.headers):
        return answer
    location = page.location(family.uri(call), step_up_name(decision))
    return answer if location is None else redirected(answer, location)


def _failed(endpoint: str) -> Decision:
    """Log the current exception, and return a denial. A bug must never look like an outage or an allow."""
    _log.exception("check failed", endpoint=endpoint)
    return Decision(Reason.BAD_REQUEST, "")
