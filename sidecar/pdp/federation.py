"""Tokens of trusted outside issuers, and whose users here they stand for (R10).

The issuer's word is taken for who somebody is over there, once for the e-mail, and for nothing else: role, status and
what was revoked are the live record's. A token that was issued at or before the user's last change of epoch is revoked,
as one of ours would be. An e-mail that fits in several of the issuer's accounts opens none of them.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sidecar.domain.caching import ENTRY_OVERHEAD, SizedFifoCache
from sidecar.domain.decision import Reason
from sidecar.domain.users import AccountId, SessionId, Status, UserRecord
from sidecar.pdp.identity import Identity
from sidecar.pdp.unlinked_subjects import UnlinkedSubjects
from sidecar.pdp.verification_budget import Budget
from sidecar.sources.remote_jwks import IssuerKeys
from sidecar.store.accounts import Accounts
from sidecar.store.federated_identities import Held, Linked, Links
from sidecar.store.live.record_cache import Records
from sidecar.store.outcomes import Position
from sidecar.tokens.claims import Claims
from sidecar.tokens.external_tokens import (
    OutsideClaims,
    Outsider,
    Presented,
    Trust,
    believe,
    issuer_named,
    read,
    timely,
)
from sidecar.tokens.ids import is_account_id
from sidecar.tokens.jwk_set import OutsideKey

FOREVER_BAD: Final = frozenset({Reason.MALFORMED_TOKEN, Reason.INVALID_SIGNATURE, Reason.WRONG_AUDIENCE})
GOOD_BYTES: Final = 16 * 1024 * 1024
BAD_BYTES: Final = 2 * 1024 * 1024
KNOWN_BYTES: Final = 8 * 1024 * 1024
NO_SESSION: Final = SessionId("")

NOT_LINKABLE: Final = "the user of its e-mail was parted from this subject, or is another subject already"

LOOK_UP_SECONDS: Final = 0.0004
ACCOUNT_SECONDS: Final = 0.00001
"""Of the loop, for a subject that is looked up in the store: in all, and for each account of its issuer."""


@dataclass(frozen=True, slots=True)
class TrustedParty:
    """An issuer, its keys, and the accounts whose users may come with its tokens (names or ids)."""

    trust: Trust
    keys: IssuerKeys
    accounts: tuple[str, ...]


class OutsideTokens:
    """What outside tokens are worth as such. Remembered as R29 has it: by bytes, key set and what the operator believes
    of the issuer (the very same ``TrustedParty``), good and bad apart.

    ``budget``: what never-seen tokens may cost (R8), shared with those of our own.
    """

    def __init__(self, parties: Iterable[TrustedParty], *, leeway: int, budget: Budget | None = None) -> None:
        self.parties: Mapping[str, TrustedParty] = {}
        self.trust(parties)
        self._leeway = leeway
        self.budget = budget or Budget()
        self._good: SizedFifoCache[str, tuple[TrustedParty, str, OutsideClaims]] = SizedFifoCache(GOOD_BYTES)
        self._bad: SizedFifoCache[str, tuple[TrustedParty, str, Reason]] = SizedFifoCache(BAD_BYTES)

    def trust(self, parties: Iterable[TrustedParty]) -> None:
        """These and no others, from now on. What was concluded from another ``TrustedParty`` holds no more."""
        self.parties = {party.trust.issuer: party for party in parties}

    def claimed(self, token: str) -> Outsider | None:
        """Does the token name one of the issuers? Their keys alone are then asked about it."""
        known = self._good.get(token)
        if known is not None and known[0].trust.issuer in self.parties:
            return Outsider(token, known[0].trust.issuer)
        issuer = issuer_named(token) if self.parties else None
        return None if issuer is None or issuer not in self.parties else Outsider(token, issuer)

    async def verify(self, outsider: Outsider, *, now: int) -> OutsideClaims | Reason:
        """Its claims, or the first reason not to believe them."""
        party = self.parties.get(outsider.issuer)
        if party is None:  # trusted no more, since the token was taken up
            return Reason.WRONG_ISSUER
        known = self._known(outsider.token, party)
        claims = await self._authentic(outsider.token, party) if known is None else known
        if isinstance(claims, Reason):
            return claims
        return timely(claims, now=now, leeway=self._leeway) or claims

    def _known(self, token: str, party: TrustedParty) -> OutsideClaims | Reason | None:
        """What was concluded from the same bytes and the key set that is still in force."""
        if not party.keys.usable():
            return None
        good = self._good.get(token)
        if good is not None and good[0] is party and good[1] == party.keys.version:
            return good[2]
        bad = self._bad.get(token)
        return bad[2] if bad is not None and bad[0] is party and bad[1] == party.keys.version else None

    async def _authentic(self, token: str, party: TrustedParty) -> OutsideClaims | Reason:
        if self.budget.is_spent():
            return Reason.OVERLOADED
        presented = read(token, party.trust)
        if not isinstance(presented, Presented):
            return presented
        key = await party.keys.find(presented.wanted)
        verdict = self._believe(presented, key, party)
        if verdict is Reason.INVALID_SIGNATURE and key is not None and key.kid != presented.wanted.kid:
            newer = await party.keys.find_newer(presented.wanted)  # no kid says that the issuer signs with another one
            verdict = verdict if newer is None else self._believe(presented, newer, party)
        version = party.keys.version
        if isinstance(verdict, OutsideClaims):
            self._good.set(token, (party, version, verdict), len(token) + ENTRY_OVERHEAD)
        elif verdict in FOREVER_BAD:
            self._bad.set(token, (party, version, verdict), len(token) + ENTRY_OVERHEAD)
        return verdict

    def _believe(self, presented: Presented, key: OutsideKey | None, party: TrustedParty) -> OutsideClaims | Reason:
        began = self.budget.now()
        verdict = believe(presented, key, party.trust)
        self.budget.charge(began)
        return verdict


class OutsideUsers:
    """Whom an outside token stands for. ``normalise``: the one spelling of an e-mail that its issuer has verified, or
    None, also where that would be another mailbox than the one verified. ``everywhere`` waits until every sidecar has
    applied a change: a link can take a password and end sessions (R10). ``unlinked`` remembers who is nobody here.
    ``linking``: False answers as if the link had been made, and makes none. ``on_nobody`` is called with the issuer and
    why one of its subjects is no user here: a phrase for the operator, without subject and e-mail.
    """

    def __init__(  # noqa: PLR0913 (the parts, each from its own place)
        self,
        tokens: OutsideTokens,
        *,
        links: Links,
        accounts: Accounts,
        records: Records,
        normalise: Callable[[str], str | None],
        everywhere: Callable[[Position], Awaitable[object]],
        unlinked: UnlinkedSubjects,
        linking: bool = True,
        on_nobody: Callable[[str, str], None] = lambda _issuer, _why: None,
    ) -> None:
        self._tokens = tokens
        self._links = links
        self._accounts = accounts
        self._records = records
        self._normalise = normalise
        self._everywhere = everywhere
        self._unlinked = unlinked
        self._linking = linking
        self._on_nobody = on_nobody
        self._known: SizedFifoCache[str, tuple[TrustedParty, Held]] = SizedFifoCache(KNOWN_BYTES)

    async def identify(self, outsider: Outsider, *, now: int) -> Identity | Reason:
        """Raises StoreUnavailable."""
        claims = await self._tokens.verify(outsider, now=now)
        if isinstance(claims, Reason):
            return claims
        record = await self._record(claims)
        if isinstance(record, Reason):
            return record
        if record.status in {Status.INVITED, Status.EXPIRED}:
            return Reason.UNKNOWN_USER
        if record.status is not Status.ACTIVE:
            return Reason.SUSPENDED
        if record.review is not None:
            return Reason.NEEDS_REVIEW
        if claims.issued_at <= record.epoch_changed_at:
            return Reason.REVOKED
        return Identity(_as_ours(claims, record), record)

    async def _record(self, claims: OutsideClaims) -> UserRecord | Reason:
        name = f"{claims.issuer}\0{claims.subject}"
        party = self._tokens.parties.get(claims.issuer)
        known = self._known.get(name)
        if party is None:
            return Reason.UNKNOWN_USER
        if known is not None and known[0] is party:
            record = await self._records.read(known[1].user)
            if record is not None and record.epoch == known[1].epoch:
                return record
        self._known.drop(name)  # never seen, or its user is gone, or its epoch has risen: perhaps the link has ended
        held = await self._look_up(claims, party)
        if isinstance(held, Reason):
            return held
        self._known.set(name, (party, held), len(name) + ENTRY_OVERHEAD)
        record = await self._records.read(held.user)
        if record is not None and record.epoch < held.epoch:  # a copy from before the link, whose change is on its way
            record = await self._records.read(held.user, fresh=True)
        return record or Reason.UNKNOWN_USER

    async def _look_up(self, claims: OutsideClaims, party: TrustedParty) -> Held | Reason:
        """In the store, within the budget of tokens never seen: strangers of an issuer may be many (R8)."""
        email = None if claims.email is None else self._normalise(claims.email)
        name = f"{claims.issuer}\0{claims.subject}\0{email or ''}"
        if self._unlinked.knows(name, party):
            return Reason.UNKNOWN_USER
        if self._tokens.budget.is_spent():
            return Reason.OVERLOADED
        accounts = await self._bound(party)
        named = [account for account in accounts if account is not None]
        horizon = self._unlinked.horizon(named, complete=len(named) == len(accounts))
        self._tokens.budget.take(LOOK_UP_SECONDS + len(named) * ACCOUNT_SECONDS)
        held = await self._held(claims, email, named)
        if isinstance(held, Held):
            return held
        self._unlinked.put(name, party, horizon)
        self._on_nobody(claims.issuer, held)
        return Reason.UNKNOWN_USER

    async def _held(self, claims: OutsideClaims, email: str | None, accounts: list[AccountId]) -> Held | str:
        """By (iss, sub); else linked now, by an e-mail that is proven, in the one account that has it; or why not."""
        sought = await self._links.seek(accounts, issuer=claims.issuer, subject=claims.subject, email=email)
        found = next((one.held for one in sought if one.held is not None), None)
        if found is not None:
            return found
        if email is None:
            return claims.unproven or "its e-mail is no address, or is spelled as another mailbox may be"
        # An invited user of the same e-mail elsewhere does not stand in the way of the one who is there.
        fitting = [one for one in sought if one.by_email is not None]
        if len(fitting) != 1 or fitting[0].by_email is None:
            return "its e-mail is that of several accounts' users" if fitting else "no active user has its e-mail"
        if not fitting[0].linkable:
            return NOT_LINKABLE
        if not self._linking:
            return Held(fitting[0].by_email, epoch=0)
        return await self._linked(claims, email, fitting[0].account) or NOT_LINKABLE

    async def _linked(self, claims: OutsideClaims, email: str, account: AccountId) -> Held | None:
        outcome = await self._links.link(account, issuer=claims.issuer, subject=claims.subject, email=email)
        if not isinstance(outcome, Linked):
            return None
        if outcome.cleared and outcome.position is not None:
            await self._everywhere(outcome.position)
        return await self._links.find(account, claims.issuer, claims.subject)

    async def _bound(self, party: TrustedParty) -> list[AccountId | None]:
        """The accounts of the issuer's entry; None for each name that is no account's."""
        names = [one for one in party.accounts if not is_account_id(one)]
        by_name = dict(zip(names, await self._accounts.ids(names), strict=True))
        return list(dict.fromkeys(by_name[one] if one in by_name else AccountId(one) for one in party.accounts))


def _as_ours(claims: OutsideClaims, record: UserRecord) -> Claims:
    """What the rest of the house reads. No session: what ends such a token is its user's epoch, or its own end."""
    return Claims(
        issuer=claims.issuer,
        audience=claims.audience,
        user=record.id,
        account=record.account,
        session=NO_SESSION,
        jti=claims.jti,
        issued_at=claims.issued_at,
        expires_at=claims.expires_at,
        epoch=record.epoch,
        not_before=claims.not_before,
        subject=claims.subject,
    )
