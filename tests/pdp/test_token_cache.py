"""R29: cached and uncached results of token verification."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.domain.decision import Reason
from sidecar.pdp.token_cache import FOREVER_BAD, TokenCache
from sidecar.pdp.verification_budget import VerificationBudget
from sidecar.tokens.claims import Claims
from sidecar.tokens.keyset import KeySet
from sidecar.tokens.verify import Verifier
from tests.pdp_fixture import ISSUER, KEYS, NOW, token


class CountingVerifier(Verifier):
    """Counts verified signatures."""

    __slots__ = ("calls",)

    def __init__(self, keys: KeySet = KEYS, issuer: str = ISSUER) -> None:
        super().__init__(keys, issuer, "dashboard", 900)
        self.calls = 0

    def authentic(self, token: str) -> Claims | Reason:
        self.calls += 1
        return super().authentic(token)


def test_R29_a_token_is_verified_once_and_its_dates_each_time() -> None:
    verifier = CountingVerifier()
    cache = TokenCache(verifier)
    text = token("b")
    assert isinstance(cache.verify(text, now=NOW), Claims)
    assert isinstance(cache.verify(text, now=NOW + 904), Claims)
    assert verifier.calls == 1
    assert cache.verify(text, now=NOW + 905) is Reason.EXPIRED
    assert cache.verify(text, now=NOW - 100) is Reason.NOT_YET_VALID


def test_R29_a_repeated_expired_token_costs_no_signature() -> None:
    """A browser keeps its access cookie as long as its session, and may poll with it long after the token expired."""
    verifier = CountingVerifier()
    cache = TokenCache(verifier)
    text = token("b")
    assert [cache.verify(text, now=NOW + 5000 + more) for more in range(5)] == [Reason.EXPIRED] * 5
    assert verifier.calls == 1


def test_R5_an_old_token_proves_its_session_within_the_budget() -> None:
    cache = TokenCache(
        CountingVerifier(), budget=VerificationBudget(share=0.0, burst=1.0, timer=iter(range(99)).__next__)
    )
    text = token("b")
    claims = cache.of_session(text, now=NOW + 90 * 86_400)
    assert isinstance(claims, Claims)
    assert cache.of_session(text, now=NOW - 6) is Reason.OVERLOADED
    assert cache.of_session("x" * (16 * 1024 + 1), now=NOW) is Reason.MALFORMED_TOKEN
    assert CountingVerifier().of_session(text, now=NOW - 6) is Reason.NOT_YET_VALID


@pytest.mark.parametrize("reason", sorted(FOREVER_BAD))
def test_R29_only_results_of_bytes_and_keys_are_kept(reason: Reason) -> None:
    bad = {
        Reason.MALFORMED_TOKEN: "x.y.z",
        Reason.INVALID_SIGNATURE: token("b")[:-8] + "AAAAAAAA",
        Reason.WRONG_ISSUER: token("b"),
        Reason.WRONG_AUDIENCE: token("b"),
    }[reason]
    verifier = CountingVerifier(issuer="http://other" if reason is Reason.WRONG_ISSUER else ISSUER)
    if reason is Reason.WRONG_AUDIENCE:
        verifier._audience = "other"
    cache = TokenCache(verifier)
    assert [cache.verify(bad, now=NOW) for _ in range(3)] == [reason] * 3
    assert verifier.calls == 1


def test_R29_an_unknown_key_is_asked_for_again() -> None:
    strangers = KeySet.of(Ed25519PrivateKey.from_private_bytes(b"o" * 32))
    verifier = CountingVerifier(keys=strangers)
    cache = TokenCache(verifier)
    assert [cache.verify(token("b"), now=NOW) for _ in range(3)] == [Reason.UNKNOWN_KEY] * 3
    assert verifier.calls == 3


def test_R29_another_key_set_forgets_everything() -> None:
    cache = TokenCache(CountingVerifier())
    text = token("b")
    assert isinstance(cache.verify(text, now=NOW), Claims)
    strangers = CountingVerifier(keys=KeySet.of(Ed25519PrivateKey.from_private_bytes(b"o" * 32)))
    cache.replace(strangers)
    assert cache.verify(text, now=NOW) is Reason.UNKNOWN_KEY


def test_R29_good_and_bad_are_bounded_apart() -> None:
    cache = TokenCache(CountingVerifier(), good_bytes=3000, bad_bytes=3000)
    good = token("b")
    assert isinstance(cache.verify(good, now=NOW), Claims)
    for number in range(100):
        cache.verify(f"bad.{number}", now=NOW)
    assert len(cache._bad) <= 3
    assert len(cache._good) == 1


def test_R18_a_token_over_16_kib_takes_no_place() -> None:
    cache = TokenCache(CountingVerifier())
    assert cache.verify("x" * (16 * 1024 + 1), now=NOW) is Reason.MALFORMED_TOKEN
    assert len(cache._bad) == 0


def test_R8_a_flood_of_unknown_tokens_spares_the_known_ones() -> None:
    now = [0.0]

    def timer() -> float:
        now[0] += 0.01  # each reading of the clock is ten milliseconds later: verification is slow here
        return now[0]

    cache = TokenCache(CountingVerifier(), budget=VerificationBudget(share=0.0, burst=0.1, timer=timer))
    known = token("b")
    assert isinstance(cache.verify(known, now=NOW), Claims)
    verdicts = [cache.verify(f"flood.{number}", now=NOW) for number in range(30)]
    assert verdicts[0] is Reason.MALFORMED_TOKEN
    assert verdicts[-1] is Reason.OVERLOADED
    assert isinstance(cache.verify(known, now=NOW), Claims)
    assert cache.verify("flood.0", now=NOW) is Reason.MALFORMED_TOKEN, "a cached token costs nothing"


def test_R8_the_budget_fills_again() -> None:
    now = [0.0]
    budget = VerificationBudget(share=0.5, burst=1.0, timer=lambda: now[0])
    began = budget.now()
    now[0] = 2.0
    budget.charge(began)
    assert budget.is_spent(), "two seconds used, one refilled meanwhile, one was left"
    now[0] = 2.1
    assert not budget.is_spent()
    began = budget.now()
    now[0] = 3.0
    budget.charge(began)
    assert budget.is_spent()
    now[0] = 6.0
    assert not budget.is_spent()
