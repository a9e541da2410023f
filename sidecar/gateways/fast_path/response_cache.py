"""Response cache for repeated checks.

Hits: (1) an identical request, such as a polling dashboard's; (2) a request that differs only in its URI and maps to a
section and action already decided for this user.
An entry contains the inputs of its decision: generation, live record, key set, and the times of token and session. It
is valid only while each input is the identical object. So a hit equals a new decision. A request is cached at its
second occurrence.
"""

from collections.abc import Hashable, Mapping
from typing import Final

import msgspec

from sidecar.domain.access import OwnTarget, Question, Target
from sidecar.domain.caching import FifoCache, SeenBefore, SizedFifoCache
from sidecar.domain.decision import Decision
from sidecar.domain.users import UserRecord
from sidecar.gateways.adapter import GatewayRequest
from sidecar.gateways.ext_authz import log_entry_for, outcome_of
from sidecar.gateways.fast_path.request_head import MAX_AGAIN, MAX_LINES, UriParts
from sidecar.http.context import AppContext
from sidecar.http.denial_causes import Cause
from sidecar.http.server.prepared_response import PreparedResponse
from sidecar.pdp.decision_basis import DecisionBasis
from sidecar.policy.routes import Outcome
from sidecar.telemetry.check_recorder import LogEntryTemplate

MAX_RESPONSES: Final = 16_384
"""Entries of 1 to 2 kB each, mostly the token and the browser's headers."""

MAX_BYTES: Final = 36 * 1024 * 1024
"""Bytes of requests and responses together (R29).

One user with cookies of maximum length could fill four times that.
"""

MAX_TEMPLATES: Final = 8_192
MAX_TEMPLATE_BYTES: Final = 24 * 1024 * 1024
MAX_TARGETS: Final = 32
"""Cached sections and actions per request template."""

MAX_ALIASES: Final = 2048
"""Heads with addresses, beside the classes of all clients (R40). At most 8 MB, usually 1 to 2.

A look-up by class copies a head three times: 1 to 2 µs of a check, which a head that recurs does not need.
"""

ALIAS_EVERY: Final = 8

OVERHEAD: Final = 64
"""Approximate bytes of a value besides its content."""


class CachedResponse(msgspec.Struct, frozen=True, gc=False):
    """Cached response: its bytes, the basis of its decision, and its log entry.

    ``cause``: of a denial that an operator can fix, counted under ``endpoint`` at each hit.
    """

    basis: DecisionBasis
    prepared: PreparedResponse
    log_entry: LogEntryTemplate
    cause: Cause | None = None
    endpoint: str = ""

    def with_same_basis(self, other: "CachedResponse") -> bool:
        """Return True if both depend on the same generation, key set and record."""
        mine, its = self.basis, other.basis
        return mine.generation is its.generation and mine.tokens is its.tokens and mine.record is its.record


class RequestTemplate(msgspec.Struct, frozen=True, gc=False):
    """Cached request that ignores its URI. It has the responses of one user, at least one.

    ``hole``: position of the URI header. Responses are keyed by section and action.
    """

    call: GatewayRequest
    uri_index: int
    responses: Mapping[Target, CachedResponse]

    def with_uri(self, uri: bytes) -> GatewayRequest:
        """Return the check request with this URI."""
        call, hole = self.call, self.uri_index
        headers = list(call.headers)
        headers[hole] = (headers[hole][0], uri)
        return GatewayRequest(call.family, call.method, call.path, call.query, headers, call.client)


class ResponseCache:
    """Response cache. One per listener. Callers validate a hit with `DecisionPoint.is_current` before use.

    ``key``: everything that a response can depend on. ``page``: the same, split into template and URI, if possible.
    """

    def __init__(self) -> None:
        self.responses: SizedFifoCache[Hashable, CachedResponse] = SizedFifoCache(MAX_BYTES, MAX_RESPONSES)
        self.templates: SizedFifoCache[Hashable, RequestTemplate] = SizedFifoCache(MAX_TEMPLATE_BYTES, MAX_TEMPLATES)
        self.seen_before = SeenBefore(MAX_RESPONSES)
        self.template_seen_before = SeenBefore(MAX_TEMPLATES)
        self.aliases: FifoCache[bytes, CachedResponse] = FifoCache(MAX_ALIASES)
        self._calls = 0
        self.get = self.responses.get

    def find_by_template(self, app: AppContext, page: UriParts) -> CachedResponse | None:
        """Return the response that is cached for this template and the section and action of the URI."""
        template, uri = page
        known = self.templates.get(template)
        if known is None:
            return None
        target = outcome_of(app, known.with_uri(uri))
        if not isinstance(target, Target):
            target = own_target(target, next(iter(known.responses.values())).basis.record)
        return None if target is None else known.responses.get(target)

    def alias(self, head: bytes, answer: CachedResponse) -> None:
        """Cache the response of a network class under a head with its addresses, in one of `ALIAS_EVERY` calls.

        So heads that recur soon get one, and heads of more clients than there is room for seldom evict each other.
        """
        self._calls += 1
        if self._calls % ALIAS_EVERY == 0:
            self.aliases.set(head, answer)

    def promote(self, key: Hashable, answer: CachedResponse) -> None:
        """Record a hit by template. The second one for the same key is cached under that key, because it is polled."""
        if self.seen_before(key):
            self.keep(key, answer)

    def store(
        self,
        key: Hashable,
        app: AppContext,
        call: GatewayRequest,
        question: Question,
        decision: Decision,
        prepared: PreparedResponse,
        page: UriParts | None = None,
        *,
        cause: Cause | None = None,
    ) -> None:
        """Cache the response to ``question``, if it is about a user and its key or its template has occurred before."""
        if decision.user is None:
            return
        again = self.seen_before(key)
        if page is not None and not (decision.section and self.template_seen_before(page[0])):
            page = None
        basis = app.pdp.basis_of(question, decision) if again or page is not None else None
        if basis is None:
            return
        label = call.family.label
        answer = CachedResponse(basis, prepared, log_entry_for(app, label, decision), cause, label)
        if again:
            self.keep(key, answer)
        if page is not None:
            found = app.pdp.target_of(question.target)
            target = found if isinstance(found, Target) else own_target(found, decision.user)
            if target is not None:
                self._keep_frame(page, call, target, answer)

    def keep(self, key: Hashable, answer: CachedResponse) -> None:
        """Cache a response whose key has occurred before."""
        self.responses.set(key, answer, size_of(key) + _weight(answer))

    def _keep_frame(self, page: UriParts, call: GatewayRequest, target: Target, answer: CachedResponse) -> None:
        """Cache a response under its template, if the URI is exactly in the header that the adapter reads."""
        template, uri = page
        headers = tuple(call.headers)
        holes = [at for at, line in enumerate(headers) if line == (call.family.uri_header, uri)]
        if len(holes) != 1:
            return
        known = self.templates.get(template)
        answers = {target: answer}
        if known is not None and (others := known.responses) and answer.with_same_basis(next(iter(others.values()))):
            if len(others) >= MAX_TARGETS and target not in others:
                return
            answers = {**others, **answers}
        size = size_of(template) + size_of(headers) + sum(map(_weight, answers.values()))
        self.templates.set(template, RequestTemplate(call, holes[0], answers), size)


def own_target(outcome: Outcome | None, record: UserRecord) -> Target | None:
    """Return the target of a path with own segments that are this user's. None: another's path, or no target."""
    if isinstance(outcome, OwnTarget) and outcome.is_own(record.account, record.id):
        return outcome.target
    return None


def _weight(answer: CachedResponse) -> int:
    prepared = answer.prepared
    return OVERHEAD + size_of((prepared.head, prepared.middle, prepared.rest)) + len(answer.log_entry.line)


def size_of(value: object) -> int:
    """Return the approximate size of a key or a response, in bytes: text, bytes, or a tuple of such."""
    if isinstance(value, tuple):
        return OVERHEAD + sum(map(size_of, value))
    return OVERHEAD + (len(value) if isinstance(value, str | bytes) else 0)


def is_short(call: GatewayRequest) -> bool:
    """Return True for a request whose values are short enough for a key of the cache (R29)."""
    lines = tuple(call.headers)
    return len(lines) <= MAX_LINES and len(call.path) + len(call.query) + sum(len(v) for _, v in lines) <= MAX_AGAIN
