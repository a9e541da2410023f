"""Responses to repeated checks of the API: ``POST /v1/check`` of one, and AuthZEN's evaluation of a user by id.

The key of a response has each byte that it depends on, and the basis of its decision must be current, as for gateway
checks. Both share one bounded cache. A PEP key is verified and charged for each request. Requests with a cookie or with
X-Sidecar-At-Least are decided anew, and so are evaluations on which a fact of a session bears.
"""

from collections.abc import Hashable
from time import perf_counter
from typing import Final

import msgspec

from sidecar.api.authzen.evaluation import EVALUATION
from sidecar.api.check_api import ENDPOINT
from sidecar.domain.access import Question, Target
from sidecar.domain.decision import Decision
from sidecar.domain.peps import Pep, Scope
from sidecar.gateways.ext_authz import log_entry_for
from sidecar.gateways.fast_path.check_responder import CheckResponder
from sidecar.gateways.fast_path.response_cache import CachedResponse
from sidecar.http.context import AppContext
from sidecar.http.credentials import from_authorization
from sidecar.http.headers import RawHeaders
from sidecar.http.min_revision import AT_LEAST
from sidecar.http.response import RawResponse
from sidecar.http.server.prepared_response import PreparedResponse, prepare
from sidecar.store.connection import StoreUnavailableError
from sidecar.telemetry.decision_log import in_quotes

PATHS: Final = frozenset({ENDPOINT, EVALUATION})
MAX_BODY: Final = 512
MAX_BEARER: Final = 2048

_ANYTHING: Final = Target("", "")
"""A basis depends on the credential of its question."""


class RepeatableCheck(msgspec.Struct, frozen=True, gc=False):
    """A request with a response that may be cached. ``key`` None: it has other headers that its response depends on."""

    path: str
    content: bytes
    bearer: bytes = b""
    key: Hashable = None


def repeatable(path: str, headers: RawHeaders, content: bytes) -> RepeatableCheck:
    """Return a request with all that its response depends on."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        lowered = name.lower()
        if lowered in _READ:
            if lowered in found or lowered in _OTHERS:
                return RepeatableCheck(path, content)
            found[lowered] = value
    bearer = found.get(b"authorization", b"")
    if not bearer or len(bearer) > MAX_BEARER or len(content) > MAX_BODY:
        return RepeatableCheck(path, content)
    return RepeatableCheck(path, content, bearer, (path, tuple(found.items()), content))


_OTHERS: Final = frozenset({b"cookie", AT_LEAST})
_READ: Final = frozenset({b"authorization", b"host", b"content-type", *_OTHERS})


class RepeatedChecks:
    """Cached responses of one listener, in the cache of its gateway checks."""

    def __init__(self, app: AppContext, responder: CheckResponder) -> None:
        self._app = app
        self._responder = responder

    async def respond(self, sent: RepeatableCheck, request_id: bytes, started: float) -> PreparedResponse | None:
        """Count and log a cached response, and return it. Return None if the request must be decided anew."""
        known = self._responder.cached(sent.key)
        if known is None:
            return None
        if sent.path == EVALUATION:
            if not await self._is_admitted(sent, known) or not self._app.pdp.is_current(known.basis):
                return None
            request_id = in_quotes(request_id.decode("ascii"))
        self._app.metrics.requests.count(sent.path, 200, perf_counter() - started)
        return self._responder.replay(known, request_id, started)

    def store(self, sent: RepeatableCheck, decision: Decision, answer: RawResponse) -> None:
        """Cache the response to a decision about a user, at the second occurrence of its key."""
        cache, pdp = self._responder.cache, self._app.pdp
        if sent.key is None or decision.user is None or not cache.seen_before(sent.key):
            return
        if sent.path == EVALUATION:
            basis = pdp.basis_of_subject(decision)
        else:
            basis = pdp.basis_of(Question(_ANYTHING, from_authorization(sent.bearer)), decision)
        if basis is not None:
            entry = log_entry_for(self._app, sent.path, decision)
            cache.keep(sent.key, CachedResponse(basis, prepare(answer), entry))

    async def _is_admitted(self, sent: RepeatableCheck, known: CachedResponse) -> bool:
        """Verify and charge the PEP key of an evaluation. Its account must be that of the subject."""
        try:
            pep = await self._app.pep_keys.admit(from_authorization(sent.bearer).token, Scope.EVALUATE)
        except StoreUnavailableError:
            return False
        return isinstance(pep, Pep) and pep.account == known.basis.record.account
