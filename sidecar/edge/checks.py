"""The gateway endpoints: a path names the adapter, the adapter reads, the PDP decides, one place answers.

Whatever goes wrong in here is a denial: a gateway that is told 5xx may be configured to let the request pass.
"""

from collections.abc import Callable
from time import perf_counter, time

from sidecar.edge.answers import Answer, gateway_answer
from sidecar.edge.credentials import RawHeaders, credential
from sidecar.edge.gateways import forwarded, nginx, section
from sidecar.edge.original import overrides_method
from sidecar.edge.parts import Parts
from sidecar.edge.same_site import same_site
from sidecar.pdp.check import Open
from sidecar.telemetry.logs import logger
from sidecar.vocabulary.access import Question, Route, Target
from sidecar.vocabulary.decision import Decision, Reason

PREFIX = "/check"
FAMILIES: dict[str, Callable[[RawHeaders], Route | Reason]] = {
    "/check": forwarded.read,
    "/check/nginx": nginx.read,
}
READING_ACTION = "view"

_log = logger("edge")


def is_check(path: str) -> bool:
    """``path``: the check's own, without its query. Everything at or below ``/check`` is answered as a gateway call."""
    return path == PREFIX or path.startswith("/check/")


async def answer_check(parts: Parts, path: str, headers: RawHeaders, request_id: str) -> Answer:
    """One gateway call. ``path`` chooses the adapter; method, body and query of the call itself decide nothing."""
    started = perf_counter()
    outcome = judge(parts, path, headers)
    decision = outcome if isinstance(outcome, Decision) else await close(parts, outcome)
    return conclude(parts, path, decision, request_id, perf_counter() - started)


def judge(parts: Parts, path: str, headers: RawHeaders) -> Decision | Open:
    """Decide without waiting, or say what the store has to be asked. Never raises."""
    try:
        question = read_question(parts, path, headers)
        if isinstance(question, Reason):
            generation = parts.policy.generation
            return Decision(question, generation.id if generation else "")
        return parts.pdp.check_now(question)
    except Exception:
        return _failed(path)


async def close(parts: Parts, question: Open) -> Decision:
    """The decision that needed the store. Never raises."""
    try:
        return await parts.pdp.close(question)
    except Exception:
        return _failed(PREFIX)


def conclude(parts: Parts, path: str, decision: Decision, request_id: str, seconds: float) -> Answer:
    """Count it, log it, and put it into a gateway's words."""
    record_check(parts, endpoint_label(path), decision, request_id, seconds)
    return gateway_answer(decision, unavailable=parts.surface.unavailable_status)


def read_question(parts: Parts, path: str, headers: RawHeaders) -> Question | Reason:
    """What the gateway asks, or why it cannot be understood."""
    if overrides_method(headers):
        return Reason.BAD_REQUEST
    target = _target(path, headers)
    if isinstance(target, Reason):
        return target
    given = credential(headers, parts.surface.cookie)
    if isinstance(given, Reason):
        return given
    method = target.method if isinstance(target, Route) else _method_of(target)
    return Question(target, given, same_site(headers, method=method, origins=parts.surface.origins))


def record_check(parts: Parts, endpoint: str, decision: Decision, request_id: str, seconds: float) -> None:
    """Count it and log it. A section that is not of the policy must not become a label of a metric."""
    generation = parts.policy.generation
    known = generation is not None and decision.section in generation.sections
    parts.metrics.checks.count(endpoint, decision, decision.section if known else "", seconds)
    if parts.decision_log is not None:
        parts.decision_log.write((time(), request_id, endpoint, decision, seconds))


def endpoint_label(path: str) -> str:
    """A closed set for metrics and log: the adapter, never the path as sent."""
    if path in FAMILIES:
        return path
    return "/check/sections" if path.startswith(section.PREFIX) else "/check/…"


def _failed(path: str) -> Decision:
    """A bug of ours must never read as an outage that a gateway lets pass, nor as an allow."""
    _log.exception("a check failed", endpoint=endpoint_label(path))
    return Decision(Reason.BAD_REQUEST, "")


def _target(path: str, headers: RawHeaders) -> Route | Target | Reason:
    read = FAMILIES.get(path)
    return read(headers) if read is not None else section.read(path)


def _method_of(target: Target) -> str:
    """No header tells this endpoint the method, so a cookie may read without further proof and nothing else (R5)."""
    return "GET" if target.action == READING_ACTION else "POST"
