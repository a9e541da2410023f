"""Verified tokens, remembered: a signature costs a hundred microseconds, the same bytes need it once (R29).

Remembers only what follows from the bytes and the key set, and checks the dates at every hit: a browser sends its
access cookie long after the token has expired, and saying so again costs no signature. Of the bad tokens only
those are kept that no passing of time, no new key and no change in the store can make good. A token that names a
trusted outside issuer is handed on as an ``Outsider``: other keys and other rules (outside.py).
"""

from collections.abc import Callable

from sidecar.domain.caching import ENTRY_OVERHEAD, SizedFifoCache
from sidecar.domain.decision import Reason
from sidecar.pdp.verification_budget import Budget
from sidecar.tokens.claims import Claims
from sidecar.tokens.external_tokens import Outsider
from sidecar.tokens.verify import MAX_TOKEN, Verifier

FOREVER_BAD = frozenset({Reason.MALFORMED_TOKEN, Reason.INVALID_SIGNATURE, Reason.WRONG_ISSUER, Reason.WRONG_AUDIENCE})
GOOD_BYTES = 32 * 1024 * 1024
BAD_BYTES = 2 * 1024 * 1024


class TokenCache:
    """A Verifier behind two bounded caches keyed by the token's full bytes, good and bad apart.

    ``outsider``: does the token name an issuer that is trusted beside us? Asked of tokens never seen before alone.
    """

    def __init__(
        self,
        verifier: Verifier,
        *,
        outsider: Callable[[str], Outsider | None] = lambda _token: None,
        good_bytes: int = GOOD_BYTES,
        bad_bytes: int = BAD_BYTES,
        budget: Budget | None = None,
    ) -> None:
        self._budget = budget or Budget()
        self._outsider = outsider
        self._verifier = verifier
        self._good: SizedFifoCache[str, Claims] = SizedFifoCache(good_bytes)
        self._bad: SizedFifoCache[str, Reason] = SizedFifoCache(bad_bytes)

    def replace(self, verifier: Verifier) -> None:
        """Other keys or another issuer: nothing that was concluded from the old ones holds any more."""
        if verifier.version != self._verifier.version:
            self._good.clear()
            self._bad.clear()
        self._verifier = verifier

    def trust_changed(self) -> None:
        """Other outside issuers are trusted: what was found bad may be one of theirs."""
        self._bad.clear()

    @property
    def version(self) -> str:
        """Of what is believed: the same object until other keys or another issuer are."""
        return self._verifier.version

    def bounds(self, claims: Claims) -> tuple[int, int]:
        """From when to when (Unix seconds, the end excluded) ``verify`` finds these claims timely."""
        return self._verifier.bounds(claims)

    def verify(self, token: str, *, now: int) -> Claims | Outsider | Reason:
        """The claims of a token that holds at ``now``, or the first reason why it does not."""
        claims = self._good.get(token)
        if claims is None:
            authentic = self._authentic(token)
            if not isinstance(authentic, Claims):
                return authentic
            claims = authentic
        return self._verifier.timely(claims, now=now) or claims

    def of_session(self, token: str, *, now: int) -> Claims | Reason:
        """The claims of an authentic access token of ours of any age: proof of its session and of nothing else (R5)."""
        if len(token) > MAX_TOKEN:
            return Reason.MALFORMED_TOKEN
        known = self._good.get(token)
        if known is not None:
            return known
        if self._budget.is_spent():
            return Reason.OVERLOADED
        began = self._budget.now()
        verdict = self._verifier.of_session(token, now=now)
        self._budget.charge(began)
        return verdict

    def _authentic(self, token: str) -> Claims | Outsider | Reason:
        if len(token) > MAX_TOKEN:  # before it costs a place in a cache
            return Reason.MALFORMED_TOKEN
        known = self._bad.get(token)
        if known is not None:
            return known
        outsider = self._outsider(token)
        if outsider is not None:
            return outsider
        verdict = self._within_budget(token)
        if isinstance(verdict, Claims):
            self._good.set(token, verdict, len(token) + ENTRY_OVERHEAD)
        elif verdict in FOREVER_BAD:
            self._bad.set(token, verdict, len(token) + ENTRY_OVERHEAD)
        return verdict

    def _within_budget(self, token: str) -> Claims | Reason:
        if self._budget.is_spent():
            return Reason.OVERLOADED
        began = self._budget.now()
        verdict = self._verifier.authentic(token)
        self._budget.charge(began)
        return verdict
