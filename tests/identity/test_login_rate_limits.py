"""R16: rejected and delayed sign-ins; no client can lock another user out."""

import asyncio
from collections import Counter

import pytest

from sidecar.http.client_ip import limiter_address
from sidecar.identity.hash_limits import Limited, MailSource, Reservation
from sidecar.identity.hashing import Hashing, Overloaded
from sidecar.identity.login import SHORT_RETRY
from sidecar.identity.login_rate_limits import (
    ACCOUNT,
    ADDRESS,
    AT_ONCE,
    EMAIL,
    PAIR,
    RECIPIENT,
    REMEMBERED_SECONDS,
    REQUESTED,
    TRIES,
    WAITING,
    LoginRateLimits,
)
from sidecar.identity.sessions import Client, Grant, InvalidGrant
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.rate_limiter import Buckets
from tests.fixtures import OTHER_PASSWORD, PASSWORD, PEPPER

ADA, EVE = "ada@example.com", "eve@example.com"


@pytest.fixture
def short():
    """Fill the store until it is short of memory."""
    return []


@pytest.fixture
def throttle(store, short):
    return LoginRateLimits(Buckets(store), PEPPER, address_of=limiter_address, memory_low=lambda: bool(short))


async def fail(throttle, subject, address, times=1):
    """Fail that many sign-ins; return the outcomes."""
    outcomes = []
    for _ in range(times):
        outcome = await throttle.reserve(subject, address)
        if isinstance(outcome, Reservation):
            await throttle.settle(outcome, failed=True)
        outcomes.append(outcome)
    return outcomes


async def succeed(throttle, subject, address, times=1):
    for _ in range(times):
        outcome = await throttle.reserve(subject, address)
        assert isinstance(outcome, Reservation), outcome
        await throttle.settle(outcome, failed=False)


async def test_R16_failures_of_an_email_from_an_address_are_limited(throttle):
    outcomes = await fail(throttle, ADA, "192.0.2.1", PAIR.units + 1)
    assert all(isinstance(outcome, Reservation) for outcome in outcomes[:-1])
    assert isinstance(outcomes[-1], Limited)
    assert 0 < outcomes[-1].retry_after <= PAIR.seconds


async def test_R16_nobody_locks_anybody_out(throttle):
    """Eve uses up all limits at her own address: Ada is not rejected at hers, only delayed."""
    await fail(throttle, ADA, "192.0.2.66", PAIR.units + 5)
    here = await throttle.reserve(ADA, "192.0.2.1")
    assert isinstance(here, Reservation)
    assert not here.suspect


async def test_R16_an_email_under_distributed_attack_is_not_rejected(throttle):
    for number in range(EMAIL.units):
        await fail(throttle, ADA, f"198.51.100.{number}")
    here = await throttle.reserve(ADA, "192.0.2.1")
    assert isinstance(here, Reservation)
    assert here.suspect
    await throttle.settle(here, failed=False)
    other = await throttle.reserve(EVE, "192.0.2.1")
    assert isinstance(other, Reservation)
    assert not other.suspect


async def test_R16_failures_of_an_address_are_limited_for_any_email(throttle):
    for number in range(ADDRESS.units):
        (outcome,) = await fail(throttle, f"user{number}@example.com", "192.0.2.66")
        assert isinstance(outcome, Reservation)
    assert isinstance(await throttle.reserve("another@example.com", "192.0.2.66"), Limited)
    assert isinstance(await throttle.reserve("another@example.com", "192.0.2.1"), Reservation)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
async def test_R7_an_ipv6_customer_is_one_address(throttle, one, other):
    await fail(throttle, ADA, one, PAIR.units)
    assert isinstance(await throttle.reserve(ADA, other), Limited)
    assert isinstance(await throttle.reserve(ADA, "2001:db8:1:3::1"), Reservation)


async def test_R16_a_success_is_no_failure(throttle):
    await succeed(throttle, ADA, "192.0.2.1", PAIR.units + 5)
    outcomes = await fail(throttle, ADA, "192.0.2.1", PAIR.units)
    assert all(isinstance(outcome, Reservation) for outcome in outcomes)


async def test_R16_successes_are_limited_too(throttle):
    await succeed(throttle, ADA, "192.0.2.1", TRIES.units)
    for _ in range(TRIES.units):  # a slow machine refills a part meanwhile
        refused = await throttle.reserve(ADA, "192.0.2.1")
        if isinstance(refused, Limited):
            break
        await throttle.settle(refused, failed=False)
    assert isinstance(refused, Limited)
    assert refused.retry_after <= TRIES.seconds
    assert isinstance(await throttle.reserve(ADA, "192.0.2.2"), Reservation)


async def test_R16_a_rejection_takes_nothing_from_other_buckets(throttle):
    await fail(throttle, ADA, "192.0.2.66", ADDRESS.units + 50)
    outcomes = [(await fail(throttle, f"user{number}@example.com", "192.0.2.66"))[0] for number in range(80)]
    assert all(isinstance(outcome, Reservation) for outcome in outcomes)


async def test_R16_it_is_reserved_before_the_work(throttle):
    """A hundred concurrent attempts count as a hundred."""

    async def guess():
        outcome = await throttle.reserve(ADA, "192.0.2.66")
        if isinstance(outcome, Reservation):
            await asyncio.sleep(0)
            await throttle.settle(outcome, failed=True)
        return type(outcome)

    outcomes = Counter(await asyncio.gather(*(guess() for _ in range(100))))
    assert outcomes[Reservation] == PAIR.units


async def test_R16_a_crowd_with_the_right_password_is_not_refused(throttle):
    working, most = 0, 0

    async def sign_in():
        nonlocal working, most
        outcome = await throttle.reserve(ADA, "192.0.2.1")
        assert isinstance(outcome, Reservation)
        working += 1
        most = max(most, working)
        await asyncio.sleep(0.05)  # longer than a reservation takes
        working -= 1
        await throttle.settle(outcome, failed=False)

    await asyncio.gather(*(sign_in() for _ in range(AT_ONCE + WAITING)))
    assert most == AT_ONCE
    assert throttle._lines == {}


async def test_R16_the_line_is_not_endless(throttle):
    held = [await throttle.reserve(ADA, "192.0.2.1") for _ in range(AT_ONCE)]
    waiting = [asyncio.create_task(throttle.reserve(ADA, "192.0.2.1")) for _ in range(WAITING)]
    await asyncio.sleep(0)
    assert await throttle.reserve(ADA, "192.0.2.1") == Limited(1)
    assert isinstance(await throttle.reserve(EVE, "192.0.2.1"), Reservation)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for admitted in held:
        await throttle.settle(admitted, failed=False)
    await succeed(throttle, ADA, "192.0.2.1")


async def test_R16_a_store_outage_lifts_no_limit_and_clears_the_queue(throttle, monkeypatch):
    async def out(*_):
        raise StoreUnavailableError("out")

    monkeypatch.setattr(Buckets, "take", out)
    for _ in range(AT_ONCE + 1):
        with pytest.raises(StoreUnavailableError):
            await throttle.reserve(ADA, "192.0.2.1")
    with pytest.raises(StoreUnavailableError):
        await throttle.may_mail(ADA, MailSource.USER)
    assert throttle._lines == {}


async def test_R16_nobody_can_tell_or_choose_a_bucket(throttle):
    bucket = throttle._bucket("pair", PAIR, ADA, "192.0.2.1")
    assert "ada" not in bucket.subject
    assert bucket.subject != throttle._bucket("pair", PAIR, ADA + "192.0.2.1", "").subject
    assert bucket.subject != throttle._bucket("email", PAIR, ADA, "192.0.2.1").subject


async def test_R12_mails_are_limited_by_address(throttle):
    may, rate = throttle.may_ask, REQUESTED
    assert [await may("192.0.2.1") for _ in range(rate.units + 1)] == [True] * rate.units + [False]
    assert await may("192.0.2.2")


@pytest.mark.parametrize(("ask", "rate"), [("may_mail", RECIPIENT), ("may_mail_for", ACCOUNT)])
@pytest.mark.parametrize(("source", "other"), [tuple(MailSource), tuple(reversed(MailSource))])
async def test_R16_mails_of_strangers_and_users_have_separate_buckets(throttle, ask, rate, source, other):
    may = getattr(throttle, ask)
    assert [await may("x", source) for _ in range(rate.units + 1)] == [True] * rate.units + [False]
    assert await may("y", source)
    assert await may("x", other)


async def test_R16_short_of_memory_mails_go_first(throttle, short):
    short.append("yes")
    for source in MailSource:
        assert not await throttle.may_mail(ADA, source)
        assert not await throttle.may_mail_for("acc_x", source)
    assert not await throttle.may_ask("192.0.2.1")
    assert throttle.memory_low


async def test_R16_short_of_memory_nobody_signs_in_and_who_is_in_stays(town):
    await town.found()
    grant = await town.grant(ADA)
    town.limits.memory_low = True
    assert await town.sign_in(ADA) == Overloaded(SHORT_RETRY)
    assert await town.people.users.record(grant.record.id) is not None
    town.limits.memory_low = False
    assert isinstance(await town.sign_in(ADA), Grant)


@pytest.fixture
def limited(town, throttle):
    """Identity services with the real limits."""
    town.people.login._limits = town.people.password_change._limits = throttle
    return town


async def test_R16_guessing_ends_and_the_owner_elsewhere_signs_in(limited):
    await limited.found()
    for _ in range(PAIR.units):
        assert await limited.sign_in(ADA, OTHER_PASSWORD) == InvalidGrant()
    assert isinstance(await limited.sign_in(ADA, OTHER_PASSWORD), Limited)
    assert isinstance(await limited.sign_in(ADA, PASSWORD), Limited), "nor is the right one distinguishable"
    limited.client = Client("192.0.2.99")
    assert isinstance(await limited.sign_in(ADA, PASSWORD), Grant)


async def test_R16_an_unknown_email_is_limited_like_a_known_one(limited):
    await limited.found()
    for email in (ADA, "nobody@example.com", "not an address"):
        outcomes = [type(await limited.sign_in(email, OTHER_PASSWORD)) for _ in range(PAIR.units + 1)]
        assert outcomes == [InvalidGrant] * PAIR.units + [Limited], email


async def test_R16_a_try_that_ends_without_an_outcome_counts(limited, throttle, monkeypatch):
    await limited.found()

    async def out(*_):
        raise StoreUnavailableError("out")

    monkeypatch.setattr(Hashing, "compare", out)
    for _ in range(PAIR.units):
        with pytest.raises(StoreUnavailableError):
            await limited.sign_in(ADA)
    assert isinstance(await limited.sign_in(ADA), Limited)
    assert throttle._lines == {}


async def test_a_completed_sign_in_survives_a_store_outage(limited, throttle, monkeypatch):
    await limited.found()

    async def out(*_):
        raise StoreUnavailableError("out")

    monkeypatch.setattr(Buckets, "give_back", out)
    assert isinstance(await limited.sign_in(ADA), Grant)
    assert throttle._lines == {}


async def test_R16_a_rejected_address_is_rejected_unread_for_a_second(store, clock):
    throttle = LoginRateLimits(
        Buckets(store), PEPPER, address_of=limiter_address, memory_low=lambda: False, clock=clock.monotonic
    )
    assert throttle.refused("2001:db8::1") is None
    for number in range(ADDRESS.units + 1):
        outcomes = await fail(throttle, f"{number}@example.com", "2001:db8::1")
    assert isinstance(outcomes[0], Limited)
    assert throttle.refused("2001:db8::2") == outcomes[0], "the same network"
    assert throttle.refused("2001:db8:1::1") is None
    clock.advance(REMEMBERED_SECONDS)
    assert throttle.refused("2001:db8::1") is None, "its bucket is read again"


async def test_R16_a_pair_that_is_refused_leaves_the_address_alone(throttle):
    assert isinstance((await fail(throttle, ADA, "192.0.2.1", PAIR.units + 1))[-1], Limited)
    assert throttle.refused("192.0.2.1") is None
