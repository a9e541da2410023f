"""Gateway check handler: the path selects the adapter, the adapter reads the request, the PDP decides.

Any error here is a denial, because a gateway may be configured to let the request pass on a 5xx.
"""

from time import perf_counter

from sidecar.domain.access import Proof, Question, Route, Target
from sidecar.domain.decision import Decision, Reason, Verdict
from sidecar.gateways import envoy_http, forwarded, nginx, section
from sidecar.gateways.adapter import OVERRIDES, Family, GatewayCall
from sidecar.gateways.cookie_filter import kept_cookies
from sidecar.gateways.denial_causes import EXPLAINED, cause_of, log_denial
from sidecar.gateways.login_redirect import is_navigation
from sidecar.http.context import Parts
from sidecar.http.credentials import credential
from sidecar.http.csrf import same_site, same_site_section
from sidecar.http.denial_log import REPORT
from sidecar.http.headers import RawHeaders
from sidecar.http.response import Answer, gateway_answer, redirected, rewritten, with_removals
from sidecar.pdp.decision_point import Open
from sidecar.telemetry.app_log import debugging, logger
from sidecar.telemetry.check_recorder import Told
from sidecar.telemetry.decision_log import in_quotes

PREFIX = "/check"
EXACT: dict[str, Family] = {forwarded.PATH: forwarded.FAMILY, nginx.PATH: nginx.FAMILY}
NOBODY = Family("/check/…", lambda _call: Reason.BAD_REQUEST)
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


def family_of(path: str) -> Family:
    """Return the adapter for a path. There is a closed list of them, so the label is safe in metrics and logs."""
    exact = EXACT.get(path)
    if exact is not None:
        return exact
    if path.startswith("/check/envoy/"):
        return envoy_http.FAMILY
    return section.FAMILY if path.startswith(section.PREFIX) else NOBODY


def gateway_call(method: str, path: str, query: str, headers: RawHeaders) -> GatewayCall:
    """Return the check request as received. Only its adapter interprets it."""
    return GatewayCall(family_of(path), method, path, query, headers)


async def answer_check(parts: Parts, call: GatewayCall, request_id: bytes) -> Answer:
    """Process one check, from headers to response. Never raises."""
    started = perf_counter()
    outcome = judge(parts, call)
    decision = outcome if isinstance(outcome, Decision) else await close(parts, outcome)
    return conclude(parts, call, decision, request_id, started)


def judge(parts: Parts, call: GatewayCall) -> Decision | Open:
    """Decide without I/O, or return the pending check that needs the store. Never raises."""
    try:
        question = read_question(parts, call)
        if isinstance(question, Reason):
            generation = parts.policy.generation
            return Decision(question, generation.id if generation else "")
        return parts.pdp.check_now(question)
    except Exception:
        return _failed(call.family.label)


async def close(parts: Parts, question: Open) -> Decision:
    """Decide a check that needs the store. Never raises."""
    try:
        return await parts.pdp.close(question)
    except Exception:
        return _failed(PREFIX)


def conclude(
    parts: Parts, call: GatewayCall, decision: Decision, request_id: bytes, started: float, detail: str | None = None
) -> Answer:
    """Count and log a decision, and return its response for the gateway. Never raises.

    ``detail``: result of `explain`, if already called.
    """
    unavailable = parts.surface.unavailable_status
    ended = perf_counter()
    try:
        parts.logbook.record(told_of(parts, call.family.label, decision), request_id, started, ended)
        detail = explain(parts, call, decision, request_id) if detail is None else detail
        answer = gateway_answer(decision, unavailable=unavailable, detail=detail)
        return _in_words_of(call, parts, decision, answer)
    except Exception:
        return gateway_answer(_failed(call.family.label), unavailable=unavailable)


def explain(parts: Parts, call: GatewayCall, decision: Decision, request_id: bytes) -> str:
    """Log a denial, and return the operator's remedy, or "". Never raises."""
    if decision.allowed or may_be_remembered(decision):
        return ""
    try:
        log_denial(call, decision, request_id)
        cause = cause_of(parts, call, decision) if decision.reason in EXPLAINED else None
    except Exception:  # most likely the exception that `judge` has logged
        return ""
    if cause is None:
        return ""
    REPORT.cause(cause, call.family.label)
    return cause.detail


def may_be_remembered(denial: Decision) -> bool:
    """Return True if a denial may be cached: it is neither logged nor counted individually."""
    return denial.reason not in EXPLAINED and not debugging()


def follows_from_decision(parts: Parts, call: GatewayCall, decision: Decision) -> bool:
    """Return True if the response is ``gateway_answer`` of the decision, independent of the request."""
    family = call.family
    if decision.allowed:
        return not family.rewrites or (not family.removes and not kept_cookies(call.headers))
    return parts.surface.login_page is None or family.uri is None


def read_question(parts: Parts, call: GatewayCall) -> Question | Reason:
    """Return the question of a check request, or the reason for rejecting it."""
    target = call.family.read(call)
    if isinstance(target, Reason):
        return target
    given = credential(call.headers, parts.surface.cookie)
    if isinstance(given, Reason):
        return given
    if given.proof is not Proof.COOKIE:
        return Question(target, given)
    origins = parts.surface.origins
    if isinstance(target, Route):
        return Question(target, given, same_site(call.headers, method=target.method, origins=origins))
    reads = target.action == READING_ACTION
    return Question(target, given, same_site_section(call.headers, reads=reads, origins=origins))


def target_of(parts: Parts, call: GatewayCall) -> Target | None:
    """Return the section and action of a check request, also if its path maps to them.

    None if unknown. Never raises.
    """
    try:
        asked = call.family.read(call)
        target = None if isinstance(asked, Reason) else parts.pdp.target_of(asked)
    except Exception:
        return None  # `judge` raises and logs the same exception
    return target if isinstance(target, Target) else None


def told_of(parts: Parts, endpoint: str, decision: Decision) -> Told:
    """Return the log entry for ``decision``. Undeclared sections do not become metric labels."""
    generation = parts.policy.generation
    known = generation is not None and decision.section in generation.sections
    return parts.logbook.told(endpoint, decision, decision.section if known else "")


def record_check(
    parts: Parts, endpoint: str, decision: Decision, request_id: str, started: float, ended: float | None = None
) -> None:
    """Count and log a check with another response format. ``request_id``: any text. ``ended``: None means now."""
    ended = perf_counter() if ended is None else ended
    parts.logbook.record(told_of(parts, endpoint, decision), in_quotes(request_id), started, ended)


def _in_words_of(call: GatewayCall, parts: Parts, decision: Decision, answer: Answer) -> Answer:
    """Adapt a response to the gateway: Cookie header, header removal, login redirect."""
    family = call.family
    if decision.allowed:
        if not family.rewrites:
            return answer
        cookie = kept_cookies(call.headers)
        answer = rewritten(answer, cookie)
        return with_removals(answer, cookie) if family.removes else answer
    page = parts.surface.login_page
    if page is None or family.uri is None or decision.reason.verdict is not Verdict.UNAUTHENTICATED:
        return answer
    asked = family.read(call)
    if isinstance(asked, Route) and asked.method == "GET" and is_navigation(call.headers):
        return redirected(answer, page.location(family.uri(call)))
    return answer


def _failed(endpoint: str) -> Decision:
    """Log the current exception, and return a denial. A bug must never look like an outage or an allow."""
    _log.exception("check failed", endpoint=endpoint)
    return Decision(Reason.BAD_REQUEST, "")
