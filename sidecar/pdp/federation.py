"""Tokens of trusted external issuers, and the local users linked to their subjects (R10).

The issuer is trusted for the subject, and once for the e-mail. Role, status and revocation come from the live record.
A token issued at or before the user's last epoch change is revoked, like a local token. An e-mail that matches users in
several of the issuer's accounts links to none of them.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sidecar.domain.caching import ENTRY_OVERHEAD, SizedFifoCache
from sidecar.domain.decision import Reason
from sidecar.domain.sessions import Proof
from sidecar.domain.users import AccountId, SessionId, Status, UserRecord
from sidecar.pdp.decision_basis import Identity
from sidecar.pdp.unlinked_subjects import UnlinkedSubjects
from sidecar.pdp.verification_budget import VerificationBudget
from sidecar.sources.remote_jwks import IssuerKeys
from sidecar.store.accounts import Accounts
from sidecar.store.federated_identities import FederatedIdentities, Linked, LinkedIdentity
from sidecar.store.live.record_cache import RecordCache
from sidecar.store.outcomes import Position
from sidecar.tokens.claims import Claims
from sidecar.tokens.external_tokens import (
    ExternalClaims,
    ExternalToken,
    IssuerTrust,
    ParsedToken,
    check_times,
    peek_issuer,
    read,
    sign_in_of,
    verify_external,
)
from sidecar.tokens.ids import is_account_id
from sidecar.tokens.jwk_set import IssuerKey

FOREVER_BAD: Final = frozenset({Reason.MALFORMED_TOKEN, Reason.INVALID_SIGNATURE, Reason.WRONG_AUDIENCE})
GOOD_BYTES: Final = 16 * 1024 * 1024
BAD_BYTES: Final = 2 * 1024 * 1024
KNOWN_BYTES: Final = 8 * 1024 * 1024
NO_SESSION: Final = SessionId("")

NOT_LINKABLE: Final = "the user with its e-mail was unlinked from this subject, or is linked to another one"

LOOK_UP_SECONDS: Final = 0.0004
ACCOUNT_SECONDS: Final = 0.00001
"""Loop seconds charged for a store look-up of a subject: a fixed part, and a part per account of its issuer."""


@dataclass(frozen=True, slots=True)
class ExternalIssuer:
    """External issuer, its keys, and the accounts (names or ids) with users that may use its tokens."""

    trust: IssuerTrust
    keys: IssuerKeys
    accounts: tuple[str, ...]


class ExternalTokenVerifier:
    """Verifier of external tokens. Two caches, for valid and invalid tokens, are keyed by bytes (R29). An entry is
    valid only for the same key set and the identical ``ExternalIssuer``.

    ``budget`` limits the cost of never-seen tokens (R8). Local tokens share it.
    """

    def __init__(
        self, parties: Iterable[ExternalIssuer], *, leeway: int, budget: VerificationBudget | None = None
    ) -> None:
        self.parties: Mapping[str, ExternalIssuer] = {}
        self.trust(parties)
        self._leeway = leeway
        self.budget = budget or VerificationBudget()
        self._good: SizedFifoCache[str, tuple[ExternalIssuer, str, ExternalClaims]] = SizedFifoCache(GOOD_BYTES)
        self._bad: SizedFifoCache[str, tuple[ExternalIssuer, str, Reason]] = SizedFifoCache(BAD_BYTES)

    def trust(self, parties: Iterable[ExternalIssuer]) -> None:
        """Replace the trusted issuers. Cached results of another ``ExternalIssuer`` become invalid."""
        self.parties = {party.trust.issuer: party for party in parties}

    def claimed(self, token: str) -> ExternalToken | None:
        """Return the token as ``ExternalToken`` if it names a trusted issuer; only its keys can verify it."""
        known = self._good.get(token)
        if known is not None and known[0].trust.issuer in self.parties:
            return ExternalToken(token, known[0].trust.issuer)
        issuer = peek_issuer(token) if self.parties else None
        return None if issuer is None or issuer not in self.parties else ExternalToken(token, issuer)

    def sign_in(self, claims: ExternalClaims, *, now: int) -> tuple[tuple[Proof, ...], int | None]:
        """Return the proofs of verified claims, and the time of the sign-in, or None if that is not known."""
        return sign_in_of(claims, now=now, leeway=self._leeway)

    async def verify(self, external: ExternalToken, *, now: int) -> ExternalClaims | Reason:
        """Verify a token at ``now`` (Unix seconds). Return its claims or the first reason for the rejection."""
        party = self.parties.get(external.issuer)
        if party is None:  # the issuer was removed after ``claimed``
            return Reason.WRONG_ISSUER
        known = self._known(external.token, party)
        claims = await self._authentic(external.token, party) if known is None else known
        if isinstance(claims, Reason):
            return claims
        return check_times(claims, now=now, leeway=self._leeway) or claims

    def _known(self, token: str, party: ExternalIssuer) -> ExternalClaims | Reason | None:
        """Return the cached result for the same bytes, issuer and active key set."""
        if not party.keys.usable():
            return None
        good = self._good.get(token)
        if good is not None and good[0] is party and good[1] == party.keys.version:
            return good[2]
        bad = self._bad.get(token)
        return bad[2] if bad is not None and bad[0] is party and bad[1] == party.keys.version else None

    async def _authentic(self, token: str, party: ExternalIssuer) -> ExternalClaims | Reason:
        if self.budget.is_spent():
            return Reason.OVERLOADED
        presented = read(token, party.trust)
        if not isinstance(presented, ParsedToken):
            return presented
        key = await party.keys.find(presented.wanted)
        verdict = self._verify(presented, key, party)
        if verdict is Reason.INVALID_SIGNATURE and key is not None and key.kid != presented.wanted.kid:
            newer = await party.keys.find_newer(presented.wanted)  # without a kid, a key change is not visible
            verdict = verdict if newer is None else self._verify(presented, newer, party)
        version = party.keys.version
        if isinstance(verdict, ExternalClaims):
            self._good.set(token, (party, version, verdict), len(token) + ENTRY_OVERHEAD)
        elif verdict in FOREVER_BAD:
            self._bad.set(token, (party, version, verdict), len(token) + ENTRY_OVERHEAD)
        return verdict

    def _verify(self, presented: ParsedToken, key: IssuerKey | None, party: ExternalIssuer) -> ExternalClaims | Reason:
        began = self.budget.now()
        verdict = verify_external(presented, key, party.trust)
        self.budget.charge(began)
        return verdict


class FederatedUsers:
    """Resolver from external tokens to local users.

    ``normalise`` returns the canonical form of a verified e-mail. It returns None if that form is another mailbox.
    ``everywhere`` waits until every sidecar has applied a change, because a link can remove a password and end sessions
    (R10). ``unlinked`` caches subjects without a local user. ``linking``: False returns the result of a link without
    making it. ``on_unlinked`` is called with the issuer and a phrase if a subject has no local user. The phrase is for
    the operator and contains neither subject nor e-mail.
    """

    def __init__(  # noqa: PLR0913 (the parts, each from its own place)
        self,
        tokens: ExternalTokenVerifier,
        *,
        links: FederatedIdentities,
        accounts: Accounts,
        records: RecordCache,
        normalise: Callable[[str], str | None],
        everywhere: Callable[[Position], Awaitable[object]],
        unlinked: UnlinkedSubjects,
        linking: bool = True,
        on_unlinked: Callable[[str, str], None] = lambda _issuer, _why: None,
    ) -> None:
        self._tokens = tokens
        self._links = links
        self._accounts = accounts
        self._records = records
        self._normalise = normalise
        self._everywhere = everywhere
        self._unlinked = unlinked
        self._linking = linking
        self._on_unlinked = on_unlinked
        self._known: SizedFifoCache[str, tuple[ExternalIssuer, LinkedIdentity]] = SizedFifoCache(KNOWN_BYTES)

    async def identify(self, external: ExternalToken, *, now: int) -> Identity | Reason:
        """Return the local identity of an external token, or the reason for the rejection. Raises
        StoreUnavailableError."""
        claims = await self._tokens.verify(external, now=now)
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
        proofs, signed_in_at = self._tokens.sign_in(claims, now=now)
        return Identity(_as_ours(claims, record), record, proofs, signed_in_at)

    async def _record(self, claims: ExternalClaims) -> UserRecord | Reason:
        name = f"{claims.issuer}\0{claims.subject}"
        party = self._tokens.parties.get(claims.issuer)
        known = self._known.get(name)
        if party is None:
            return Reason.UNKNOWN_USER
        if known is not None and known[0] is party:
            record = await self._records.read(known[1].user)
            if record is not None and record.epoch == known[1].epoch:
                return record
        self._known.drop(name)  # new subject, removed user or raised epoch: the link may have ended
        link = await self._look_up(claims, party)
        if isinstance(link, Reason):
            return link
        self._known.set(name, (party, link), len(name) + ENTRY_OVERHEAD)
        record = await self._records.read(link.user)
        if record is not None and record.epoch < link.epoch:  # cached before the link; its event has not arrived yet
            record = await self._records.read(link.user, fresh=True)
        return record or Reason.UNKNOWN_USER

    async def _look_up(self, claims: ExternalClaims, party: ExternalIssuer) -> LinkedIdentity | Reason:
        """Find or create the link in the store. The budget applies, because an issuer can have many strangers (R8)."""
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
        outcome = await self._find_link(claims, email, named)
        if isinstance(outcome, LinkedIdentity):
            return outcome
        self._unlinked.put(name, party, horizon)
        self._on_unlinked(claims.issuer, outcome)
        return Reason.UNKNOWN_USER

    async def _find_link(
        self, claims: ExternalClaims, email: str | None, accounts: list[AccountId]
    ) -> LinkedIdentity | str:
        """Find the link of (iss, sub). If there is none, link by a verified e-mail found in exactly one account.

        Returns the phrase for ``on_unlinked`` if neither succeeds.
        """
        sought = await self._links.seek(accounts, issuer=claims.issuer, subject=claims.subject, email=email)
        found = next((one.link for one in sought if one.link is not None), None)
        if found is not None:
            return found
        if email is None:
            return claims.unproven or "its e-mail is not an address, or its spelling may be another mailbox"
        # An invited user with the same e-mail in another account does not block the active user.
        fitting = [one for one in sought if one.by_email is not None]
        if len(fitting) != 1 or fitting[0].by_email is None:
            return "users of several accounts have its e-mail" if fitting else "no active user has its e-mail"
        if not fitting[0].linkable:
            return NOT_LINKABLE
        if not self._linking:
            return LinkedIdentity(fitting[0].by_email, epoch=0)
        return await self._linked(claims, email, fitting[0].account) or NOT_LINKABLE

    async def _linked(self, claims: ExternalClaims, email: str, account: AccountId) -> LinkedIdentity | None:
        outcome = await self._links.link(account, issuer=claims.issuer, subject=claims.subject, email=email)
        if not isinstance(outcome, Linked):
            return None
        if outcome.cleared and outcome.position is not None:
            await self._everywhere(outcome.position)
        return await self._links.find(account, claims.issuer, claims.subject)

    async def _bound(self, party: ExternalIssuer) -> list[AccountId | None]:
        """Return the accounts in the issuer's entry, with None per unknown name."""
        names = [one for one in party.accounts if not is_account_id(one)]
        by_name = dict(zip(names, await self._accounts.ids(names), strict=True))
        return list(dict.fromkeys(by_name[one] if one in by_name else AccountId(one) for one in party.accounts))


def _as_ours(claims: ExternalClaims, record: UserRecord) -> Claims:
    """Convert external claims to local claims. The session is empty: such a token ends by its user's epoch or its
    expiry."""
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
