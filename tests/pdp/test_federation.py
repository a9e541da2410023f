"""Users of trusted external issuers (R10): found by issuer and subject, linked once, and decided by the live record."""

import json
import time
from dataclasses import replace
from types import SimpleNamespace

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from sidecar.domain.access import Credential, CredentialSource, Question, RequestPath
from sidecar.domain.decision import Reason
from sidecar.domain.sessions import Method, Proof
from sidecar.domain.users import Actor, Status
from sidecar.identity.emails import verified_elsewhere
from sidecar.identity.sessions import Grant, InvalidGrant, refresh
from sidecar.pdp.decision_basis import Identity
from sidecar.pdp.decision_point import DecisionPoint
from sidecar.pdp.federation import ExternalIssuer, ExternalTokenVerifier, FederatedUsers
from sidecar.pdp.token_cache import TokenCache
from sidecar.pdp.unlinked_subjects import UnlinkedSubjects
from sidecar.sources.remote_jwks import COOLDOWN, STALE, IssuerKeys, UnreadableKeySetError
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.federated_identities import FederatedIdentities
from sidecar.store.live.change_feed import FeedEntry
from sidecar.tokens.external_tokens import ExternalToken, IssuerTrust
from sidecar.tokens.verify import Verifier
from tests.fixtures import DirectRecords, generation, hashing, issuer, town

__all__ = ["generation", "hashing", "issuer", "town"]

CORP, PARTNER = "https://login.corp.example", "https://id.partner.example"
OPERATOR = Actor.operator()
KEYS = {CORP: Ed25519PrivateKey.from_private_bytes(b"c" * 32), PARTNER: Ed25519PrivateKey.from_private_bytes(b"p" * 32)}


class Provider:
    """An OpenID provider: its key set, and tokens of any user."""

    def __init__(self, name):
        self.name = name
        self.key = KEYS[name]
        self.kid = "k-1"
        self.readings = 0
        self.out = False

    async def read(self):
        self.readings += 1
        if self.out:
            raise UnreadableKeySetError("status 500 instead of 200")
        public = OKPAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return json.dumps({"keys": [{**public, "kid": self.kid}]}).encode()

    def token(self, now, subject="s-ada", email="ada@example.com", **claims):
        payload = {
            "iss": self.name, "aud": "dashboard", "sub": subject, "iat": now, "exp": now + 600,
            "email": email, "email_verified": True, **claims,
        }  # fmt: skip
        payload = {name: value for name, value in payload.items() if value is not ...}
        return jwt.encode(payload, self.key, "EdDSA", {"kid": self.kid})


class CountingLinks:
    """Real links and records that count the requests."""

    def __init__(self, inner):
        self.inner = inner
        self.asked = []

    def __getattr__(self, name):
        self.asked.append(name)
        return getattr(self.inner, name)


@pytest.fixture
def corp():
    return Provider(CORP)


@pytest.fixture
def partner():
    return Provider(PARTNER)


@pytest.fixture
def now():
    """The wall clock, because the store's own time is in the compared values."""
    return int(time.time())


@pytest.fixture
def links(store):
    return CountingLinks(FederatedIdentities(store))


@pytest.fixture
def unlinked(clock):
    """Unlinked subjects are not cached until a test sets the feed to live: ``unlinked.live = True``."""

    class Remembered(UnlinkedSubjects):
        live = False

        def __init__(self):
            super().__init__(live=lambda _account: self.live, clock=clock.monotonic)

    return Remembered()


@pytest.fixture
def world(town, store, issuer, links, corp, partner, clock, now, unlinked):  # noqa: PLR0917 (fixtures)
    """``world(accounts)``: a decision point that trusts Corp for these accounts and Partner for Acme alone."""

    def build(accounts=("Acme",)):
        parties = [
            ExternalIssuer(
                IssuerTrust(provider.name, "dashboard", frozenset({"EdDSA"})),
                IssuerKeys(provider.name, provider.read, frozenset({"EdDSA"}), clock=clock.monotonic),
                bound,
            )
            for provider, bound in ((corp, tuple(accounts)), (partner, ("Acme",)))
        ]
        tokens = ExternalTokenVerifier(parties, leeway=5)
        records = DirectRecords(town.people.users)
        outside = FederatedUsers(
            tokens, links=links, accounts=town.people.accounts, records=records,
            normalise=verified_elsewhere, everywhere=town.fleet.wait_applied,
            unlinked=unlinked,
        )  # fmt: skip
        own = TokenCache(Verifier(issuer.keys, issuer.issuer, "dashboard", 900), external=tokens.claimed)
        policy = SimpleNamespace(generation=town.generation)
        pdp = DecisionPoint(policy, own, records, clock=lambda: now + clock.monotonic() - 1000, outside=outside)
        return SimpleNamespace(
            pdp=pdp, parties={party.trust.issuer: party for party in parties}, tokens=tokens, own=own
        )

    return build


async def identified(world, token):
    return await world.pdp.identify(Credential(CredentialSource.HEADER, token))


async def reason(world, token, path="/dashboard/users"):
    """Return the reason that a gateway receives."""
    decision = await world.pdp.check(Question(RequestPath("GET", path), Credential(CredentialSource.HEADER, token)))
    return decision.reason


async def test_R10_a_verified_email_links_once_then_the_subject_counts(world, town, corp, now, links):
    ada = await town.found()
    bob = await town.join(ada, "bob@example.com")
    there = world()
    identity = await identified(there, corp.token(now))
    assert isinstance(identity, Identity)
    assert (identity.record.id, identity.claims.user, identity.claims.account) == (ada.id, ada.id, ada.account)
    assert (identity.claims.issuer, identity.claims.subject, identity.claims.session) == (CORP, "s-ada", "")
    assert await reason(there, corp.token(now)) is Reason.ALLOWED

    for email, verified in (
        ("bob@example.com", True),
        ("ada@example.com", False),
        ("not an address", True),
        (..., ...),
    ):
        again = await identified(there, corp.token(now, email=email, email_verified=verified))
        assert again.record.id == ada.id != bob.id, "the e-mail is not compared any more"
    fresh = world()
    assert (await identified(fresh, corp.token(now, email=...))).record.id == ada.id, "another process, the same link"
    assert links.asked.count("link") == 1


async def test_R10_an_external_identity_has_the_proofs_of_its_token(world, town, corp, now):
    await town.found()
    there = world()
    trust = replace(there.parties[CORP].trust, amr={"otp": Method.TOTP})
    there.tokens.trust([replace(there.parties[CORP], trust=trust)])
    found = await identified(there, corp.token(now, auth_time=now - 60, amr=["pwd", "otp"]))
    assert found.proofs == (Proof(Method.OUTSIDE, "", now - 60), Proof(Method.TOTP, "", now - 60))
    assert found.signed_in_at == now - 60
    found = await identified(there, corp.token(now, amr=["pwd"]))
    assert (found.proofs, found.signed_in_at) == ((Proof(Method.OUTSIDE, "", 0),), None)


async def test_R10_a_link_needs_a_verified_email_of_an_active_user(world, town, corp, now):
    ada = await town.found()
    await town.invite(ada, "invited@example.com")
    bob = await town.join(ada, "bob@example.com")
    await town.people.users.change(OPERATOR, bob.id, status=Status.SUSPENDED)
    there = world()
    for email, verified in (
        ("ada@example.com", False), ("ada@example.com", "true"), ("ada@example.com", ...), (..., True),
        ("eve@example.com", True), ("invited@example.com", True), ("bob@example.com", True), ("no address", True),
        ("\uff41da@example.com", True), ("ad\u24d0@example.com", True),
    ):  # fmt: skip
        assert await reason(there, corp.token(now, email=email, email_verified=verified)) is Reason.UNKNOWN_USER
    assert await reason(there, corp.token(now, email="ADA@Example.COM.")) is Reason.ALLOWED, "one spelling"


async def test_R10_a_reassigned_address_does_not_grant_the_old_user(world, town, corp, now):
    await town.found()
    there = world()
    assert await reason(there, corp.token(now, "s-ada")) is Reason.ALLOWED
    assert await reason(there, corp.token(now, "s-successor")) is Reason.UNKNOWN_USER


async def test_R9_R10_the_owners_link_revokes_an_unverified_password(world, town, corp, now):
    ada = await town.found()
    bob = await town.join(ada, "bob@example.com", "account-administrator")
    assert not bob.email_verified, "the link was shown, and another user followed it"
    stranger = await town.grant("bob@example.com")
    there = world()
    token = corp.token(now, "s-bob", "bob@example.com")
    town.fleet.waited.clear()
    owner = await identified(there, token)
    assert (owner.record.id, owner.record.email_verified) == (bob.id, True), "the linking token is accepted"
    assert len(town.fleet.waited) == 1, "not before every sidecar has applied it"
    assert await reason(there, token) is Reason.ALLOWED
    assert owner.record.sessions == {}
    assert owner.record.epoch > stranger.record.epoch
    renewed = await refresh(
        town.people.issuer, town.people.sessions, town.people.fleet, stranger.refresh_token, town.client
    )
    assert isinstance(renewed, InvalidGrant)
    assert isinstance(await town.sign_in("bob@example.com"), InvalidGrant), "its password is removed"


async def test_R10_a_password_set_by_mail_survives_the_link(world, town, corp, now):
    ada = await town.found()
    await town.grant("ada@example.com")
    there = world()
    town.fleet.waited.clear()
    assert await reason(there, corp.token(now)) is Reason.ALLOWED
    assert town.fleet.waited == [], "nothing was revoked"
    record = await town.people.users.record(ada.id)
    assert (record.epoch, len(record.sessions)) == (ada.epoch, 1)
    assert isinstance(await town.sign_in("ada@example.com"), Grant)


async def test_R10_only_the_accounts_that_the_operator_bound(world, town, corp, partner, now):
    ada = await town.found("Acme")
    eve = await town.found("Evil", "eve@example.net")
    there = world([ada.account])
    assert await reason(there, corp.token(now, "s-eve", "eve@example.net")) is Reason.UNKNOWN_USER
    both = world(["Acme", "Evil", "Nowhere"])
    assert (await identified(both, corp.token(now, "s-eve", "eve@example.net"))).record.id == eve.id
    assert await reason(both, partner.token(now, "s-eve", "eve@example.net")) is Reason.UNKNOWN_USER
    assert await reason(there, corp.token(now, "s-eve", "eve@example.net")) is Reason.UNKNOWN_USER, "linked elsewhere"


async def test_R10_an_email_of_several_accounts_opens_none(world, town, corp, now):
    await town.found("Acme")
    second = await town.found("Second", "sue@example.com")
    await town.invite(second, "ada@example.com")
    waiting = world(["Acme", "Second"])
    await town.join(second, "bob@example.com")
    assert await reason(waiting, corp.token(now, "s-bob", "bob@example.com")) is Reason.NO_RULE
    await town.join(await town.found("Third", "tom@example.com"), "ada@example.com")
    assert await reason(world(["Acme", "Third"]), corp.token(now)) is Reason.UNKNOWN_USER
    assert await reason(world(["Acme", "Second"]), corp.token(now)) is Reason.ALLOWED, "invited, not yet a member"
    assert await reason(world(["Acme", "Third"]), corp.token(now)) is Reason.ALLOWED, "linked by now"


async def test_R10_keys_are_looked_up_within_the_tokens_own_issuer(world, town, corp, partner, now):
    await town.found()
    there = world()
    forged = Provider(CORP)
    forged.key = partner.key
    assert await reason(there, forged.token(now)) is Reason.INVALID_SIGNATURE
    forged.kid = "k-2"
    assert await reason(there, forged.token(now)) is Reason.UNKNOWN_KEY
    assert partner.readings == 0


async def test_R10_claims_of_ours_in_an_outside_token_are_ignored(world, town, corp, now):
    ada = await town.found()
    eve = await town.found("Evil", "eve@example.net")
    token = corp.token(now, acct=eve.account, tv=99, sid="ses_" + "a" * 26, role="account-administrator")
    identity = await identified(world(), token)
    assert (identity.record.id, identity.claims.account, identity.claims.epoch) == (ada.id, ada.account, ada.epoch)


async def test_R10_tokens_issued_before_an_epoch_change_are_revoked(world, town, corp, now, clock):
    ada = await town.found()
    there = world()
    assert await reason(there, corp.token(now)) is Reason.ALLOWED
    await town.people.users.sign_out_everywhere(ada.id, OPERATOR)
    changed = (await town.people.users.record(ada.id)).epoch_changed_at
    clock.advance(5)
    assert await reason(there, corp.token(now)) is Reason.REVOKED
    assert await reason(there, corp.token(changed)) is Reason.REVOKED
    assert await reason(there, corp.token(changed + 1)) is Reason.ALLOWED


async def test_R10_an_unlinked_subject_stays_unknown(world, town, corp, now, links, clock):
    ada = await town.found()
    there, elsewhere = world(), world()
    for one in (there, elsewhere):
        assert await reason(one, corp.token(now)) is Reason.ALLOWED, "both cache the link"
    await links.unlink(ada.id)
    clock.advance(5)
    for one in (there, elsewhere):
        assert await reason(one, corp.token(now)) is Reason.UNKNOWN_USER
        assert await reason(one, corp.token(now + 4)) is Reason.UNKNOWN_USER, "a new token does not restore it"
    changed = (await town.people.users.record(ada.id)).epoch_changed_at
    assert await reason(there, corp.token(changed, "s-new")) is Reason.REVOKED
    assert await reason(there, corp.token(changed + 1, "s-new")) is Reason.ALLOWED, "its successor with the same e-mail"


async def test_R10_an_issuer_that_is_trusted_no_more_or_otherwise(world, town, corp, partner, now):
    await town.found("Acme")
    await town.found("Evil", "eve@example.net")
    there = world()
    token = corp.token(now)
    assert await reason(there, token) is Reason.ALLOWED
    party = there.parties[CORP]
    there.tokens.trust([ExternalIssuer(party.trust, party.keys, ("Evil",))])
    assert await reason(there, token) is Reason.UNKNOWN_USER, "its account is not bound any more"
    there.tokens.trust([ExternalIssuer(replace(party.trust, audience="other"), party.keys, ("Acme",))])
    assert await reason(there, token) is Reason.WRONG_AUDIENCE
    there.tokens.trust([])
    assert await reason(there, token) is Reason.MALFORMED_TOKEN, "decided like any other user"
    there.tokens.trust([party])
    there.own.trust_changed()
    assert await reason(there, token) is Reason.ALLOWED


async def test_status_and_role_are_the_live_records(world, town, corp, now):
    ada = await town.found()
    bob = await town.join(ada, "bob@example.com", "marketer")
    there = world()
    token = corp.token(now, "s-bob", "bob@example.com")
    assert await reason(there, token) is Reason.NO_RULE
    await town.people.users.change(OPERATOR, bob.id, role="account-administrator")
    assert await reason(there, token) is Reason.ALLOWED
    await town.people.users.change(OPERATOR, bob.id, status=Status.SUSPENDED)
    assert await reason(there, token) is Reason.SUSPENDED
    await town.people.users.remove(OPERATOR, bob.id)
    assert await reason(there, token) is Reason.UNKNOWN_USER


async def test_a_user_who_was_invited_anew_is_linked_anew(world, town, corp, now):
    ada = await town.found()
    bob = await town.join(ada, "bob@example.com")
    there = world()
    token = corp.token(now, "s-bob", "bob@example.com")
    assert (await identified(there, token)).record.id == bob.id
    await town.people.users.remove(OPERATOR, bob.id)
    again = await town.join(ada, "bob@example.com")
    assert (await identified(there, token)).record.id == again.id != bob.id


async def test_R10_R29_no_cache_entry_outlives_its_keys_and_dates(world, town, corp, now, clock):
    await town.found()
    there = world()
    token = corp.token(now)
    assert await reason(there, token) is Reason.ALLOWED
    clock.advance(604)
    assert await reason(there, token) is Reason.ALLOWED
    clock.advance(1)
    assert await reason(there, token) is Reason.EXPIRED

    long = corp.token(now, exp=now + 10 * int(STALE))
    assert await reason(there, long) is Reason.ALLOWED
    corp.kid, corp.key = "k-2", KEYS[PARTNER]
    clock.advance(COOLDOWN)
    assert await reason(there, corp.token(now, exp=now + 10 * int(STALE))) is Reason.ALLOWED
    assert await reason(there, long) is Reason.UNKNOWN_KEY, "its key was withdrawn"


async def test_R10_a_day_without_a_good_fetch_fails_every_token(world, town, corp, now, clock):
    await town.found()
    there = world()
    token = corp.token(now, exp=now + 10 * int(STALE))
    assert await reason(there, token) is Reason.ALLOWED
    corp.out = True
    clock.advance(STALE - 1)
    assert await reason(there, token) is Reason.ALLOWED
    clock.advance(1)
    assert await reason(there, token) is Reason.UNKNOWN_KEY
    corp.out = False
    clock.advance(600)
    assert await reason(there, token) is Reason.ALLOWED


async def test_R29_only_results_of_bytes_and_keys_are_cached_apart(world, town, corp, now, clock):
    await town.found()
    there = world()
    good, bad = there.tokens._good, there.tokens._bad
    unknown = Provider(CORP)
    unknown.kid = "k-9"
    for token, kept in (
        (corp.token(now, aud="other"), True),
        (corp.token(now, sub=7), True),
        (corp.token(now)[:-6] + "AAAAAA", True),
        (unknown.token(now), False),
    ):
        before = len(bad)
        first = await reason(there, token)
        assert await reason(there, token) is first
        assert (len(bad) - before == 1) is kept
    assert len(good) == 0
    for token in (corp.token(now - 3600, exp=now - 3000), corp.token(now + 600)):
        assert await reason(there, token) in (Reason.EXPIRED, Reason.NOT_YET_VALID)
    assert len(bad) == 3
    clock.advance(600)
    assert await reason(there, token) is Reason.ALLOWED, "the retry is due"


async def test_R8_a_flood_of_external_tokens_spares_the_known_ones(world, town, corp, now):
    await town.found()
    there = world()
    known, new = corp.token(now), corp.token(now, jti="another")
    assert await reason(there, known) is Reason.ALLOWED
    there.tokens.budget._left = -1e9
    assert await reason(there, new) is Reason.OVERLOADED
    assert await reason(there, known) is Reason.ALLOWED
    there.tokens.budget._left = 1.0
    assert await reason(there, new) is Reason.ALLOWED


async def test_a_token_without_a_user_is_looked_up_once_per_change(world, town, corp, now, links, unlinked):
    ada = await town.found()
    there, unlinked.live = world(), True
    stranger = corp.token(now, "s-eve", "eve@example.com")
    for number in range(5):
        for token in (stranger, corp.token(now, "s-eve", "eve@example.com", jti=str(number))):
            assert await reason(there, token) is Reason.UNKNOWN_USER
    assert links.asked == ["seek"]
    assert await reason(there, corp.token(now, "s-eve", "bob@example.com")) is Reason.UNKNOWN_USER
    assert await reason(there, corp.token(now, "s-eve", "bob@example.com", email_verified=False)) is Reason.UNKNOWN_USER
    assert links.asked == ["seek"] * 3, "another e-mail, and none, are separate look-ups"

    eve = await town.join(ada, "eve@example.com", "account-administrator")
    assert await reason(there, stranger) is Reason.UNKNOWN_USER
    unlinked.apply(0, FeedEntry(1, "user", eve.account, eve.id, 1, 1, ack=False))
    assert await reason(there, stranger) is Reason.ALLOWED


@pytest.mark.parametrize("kind", ["barred", "taken", "several", "gone"])
async def test_every_way_of_being_nobody_is_looked_up_once(world, town, corp, now, links, unlinked, kind):
    ada = await town.found()
    accounts = ["Acme"]
    if kind == "barred":
        await links.inner.link(ada.account, issuer=CORP, subject="s-ada", email="ada@example.com")
        await links.inner.unlink(ada.id)
    elif kind == "taken":
        await links.inner.link(ada.account, issuer=CORP, subject="s-other", email="ada@example.com")
    elif kind == "several":
        await town.found("Second", "ada@example.com")
        accounts.append("Second")
    there, unlinked.live = world(accounts), True
    token = corp.token(now)
    if kind == "gone":
        bob = await town.join(ada, "bob@example.com")
        token = corp.token(now, "s-bob", "bob@example.com")
        await reason(there, token)
        await town.people.users.remove(OPERATOR, bob.id)
        unlinked.apply(0, FeedEntry(1, "removed", bob.account, bob.id, 1, 1, ack=False))
    links.asked.clear()
    for _ in range(5):
        assert await reason(there, token) is Reason.UNKNOWN_USER
    assert links.asked.count("seek") == 1
    assert len(links.asked) <= 2, "one look-up, and one attempt to link"


async def test_R8_look_ups_of_strangers_use_the_budget_of_new_tokens(world, town, corp, now, links):
    await town.found()
    there = world()
    known = corp.token(now)
    assert await reason(there, known) is Reason.ALLOWED
    budget = there.tokens.budget
    stranger = corp.token(now, "s-eve", "eve@example.com")
    await there.tokens.verify(ExternalToken(stranger, CORP), now=now)
    budget.is_spent()
    budget._left, budget._share = 0.0005, 0.0
    assert await reason(there, stranger) is Reason.UNKNOWN_USER
    assert budget._left <= 0.0005 - 0.0004
    links.asked.clear()
    budget._left = 0.0
    assert await reason(there, stranger) is Reason.OVERLOADED
    assert links.asked == []
    assert await reason(there, known) is Reason.ALLOWED, "a linked subject needs no look-up"


async def test_a_second_look_asks_neither_the_issuer_nor_for_links(world, town, corp, now, links):
    await town.found()
    there = world()
    token = corp.token(now)
    await reason(there, token)
    asked, readings = len(links.asked), corp.readings
    for _ in range(5):
        assert await reason(there, token) is Reason.ALLOWED
    assert (len(links.asked), corp.readings) == (asked, readings)


async def test_our_own_tokens_go_their_own_way(world, town, now, issuer, clock, corp):
    await town.found()
    there = world()
    assert there.tokens.claimed((await town.grant("ada@example.com")).access_token) is None
    assert await reason(there, "garbage") is Reason.MALFORMED_TOKEN
    stranger = Provider(CORP)
    stranger.name = "https://unknown.example"
    assert await reason(there, stranger.token(now)) is Reason.MALFORMED_TOKEN
    assert corp.readings == 0


async def test_a_token_that_says_our_issuer_is_judged_by_our_keys(world, town, corp, now, issuer):
    await town.found()
    there = world()
    corp.name = issuer.issuer
    assert await reason(there, corp.token(now)) is Reason.MALFORMED_TOKEN
    assert corp.readings == 0


async def test_a_store_that_is_out_is_never_a_yes(world, town, corp, now, links, monkeypatch):
    await town.found()
    there = world()

    async def out(*_, **__):
        raise StoreUnavailableError("out")

    monkeypatch.setattr(links.inner, "seek", out)
    assert await reason(there, corp.token(now)) is Reason.STORE_UNAVAILABLE


async def test_an_outsider_that_nobody_was_told_to_trust_is_refused(town, issuer, corp, now):
    policy = SimpleNamespace(generation=town.generation)
    cache = TokenCache(
        Verifier(issuer.keys, issuer.issuer, "dashboard", 900), external=lambda token: ExternalToken(token, CORP)
    )
    pdp = DecisionPoint(policy, cache, DirectRecords(town.people.users), clock=lambda: now)
    assert await pdp.identify(Credential(CredentialSource.HEADER, corp.token(now))) is Reason.WRONG_ISSUER
