"""Cache of verified tokens: a signature costs 70 µs, and the same bytes are verified once (R29).

Entries depend only on the bytes and the key set. Dates are checked at each hit. A browser sends its access cookie long
after expiry, and a cached expired token costs no signature. An invalid token is cached only if neither time, nor a new
key, nor a change in the store can make it valid. A token of a trusted external issuer is returned as ``ExternalToken``,
because other keys and rules apply (federation.py).
"""

from collections.abc import Callable

from sidecar.domain.caching import ENTRY_OVERHEAD, SizedFifoCache
from sidecar.domain.decision import Reason
from sidecar.pdp.verification_budget import VerificationBudget
from sidecar.tokens.claims import Claims
from sidecar.tokens.external_tokens import ExternalToken
from sidecar.tokens.verify import MAX_TOKEN, Verifier

FOREVER_BAD = frozenset({Reason.MALFORMED_TOKEN, Reason.INVALID_SIGNATURE, Reason.WRONG_ISSUER, Reason.WRONG_AUDIENCE})
GOOD_BYTES = 32 * 1024 * 1024
BAD_BYTES = 2 * 1024 * 1024


class TokenCache:
    """Verifier with two bounded caches, for valid and invalid tokens, keyed by the token's full bytes.

    ``external`` returns an ``ExternalToken`` if the token names a trusted external issuer. It is called for never-seen
    tokens only.
    """

    def __init__(
        self,
        verifier: Verifier,
        *,
        external: Callable[[str], ExternalToken | None] = lambda _token: None,
        good_bytes: int = GOOD_BYTES,
        bad_bytes: int = BAD_BYTES,
        budget: VerificationBudget | None = None,
    ) -> None:
        self._budget = budget or VerificationBudget()
        self._parse_external = external
        self._verifier = verifier
        self._good: SizedFifoCache[str, Claims] = SizedFifoCache(good_bytes)
        self._bad: SizedFifoCache[str, Reason] = SizedFifoCache(bad_bytes)

    def replace(self, verifier: Verifier) -> None:
        """Replace keys or issuer. A different version clears both caches."""
        if verifier.version != self._verifier.version:
            self._good.clear()
            self._bad.clear()
        self._verifier = verifier

    def trust_changed(self) -> None:
        """Clear the invalid tokens, because a newly trusted external issuer may have issued one of them."""
        self._bad.clear()

    @property
    def version(self) -> str:
        """Version of the trusted keys and issuer: the identical object until they change."""
        return self._verifier.version

    def bounds(self, claims: Claims) -> tuple[int, int]:
        """Return the period (Unix seconds, end excluded) in which ``verify`` accepts the dates of ``claims``."""
        return self._verifier.bounds(claims)

    def verify(self, token: str, *, now: int) -> Claims | ExternalToken | Reason:
        """Verify a token at ``now`` (Unix seconds).

        Returns its claims, an ``ExternalToken``, or the first reason for the rejection.
        """
        claims = self._good.get(token)
        if claims is None:
            authentic = self._authentic(token)
            if not isinstance(authentic, Claims):
                return authentic
            claims = authentic
        return self._verifier.timely(claims, now=now) or claims

    def of_session(self, token: str, *, now: int) -> Claims | Reason:
        """Return the claims of an authentic local access token of any age. They prove only its session (R5)."""
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

    def _authentic(self, token: str) -> Claims | ExternalToken | Reason:
        if len(token) > MAX_TOKEN:  # before it takes a cache entry
            return Reason.MALFORMED_TOKEN
        known = self._bad.get(token)
        if known is not None:
            return known
        external = self._parse_external(token)
        if external is not None:
            return external
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
