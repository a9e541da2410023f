"""A forgotten password: a link to whoever reads the mail, and the new password in exchange for it (R12).

The link's secret is a MAC over user, credential epoch and expiry, and stands nowhere: it works once and dies at any
password change because both raise the epoch, and asking for one writes nothing that a crowd could fill the store with.
Refuses to tell anybody whether an e-mail is known.
"""

import asyncio
import base64
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from sidecar.accounts.emails import Address, is_same_mailbox, parse
from sidecar.accounts.hashing import Hashing, Lane, Overloaded
from sidecar.accounts.letters import reset_letter
from sidecar.accounts.limits import Limits
from sidecar.accounts.links import reset_link
from sidecar.accounts.mail import Letter
from sidecar.accounts.outbox import Outbox
from sidecar.accounts.password_change import WeakPassword
from sidecar.accounts.passwords import normalise as normalise_password
from sidecar.accounts.passwords import weaknesses
from sidecar.accounts.revocation import everywhere
from sidecar.accounts.sessions import Client, Clock, Grant, Issuer
from sidecar.store.accounts import Accounts
from sidecar.store.fleet import Fleet
from sidecar.store.outcomes import ActorChanged, NoUser, Stale
from sidecar.store.users import PasswordChanged, Users
from sidecar.tokens.ids import account_of, letters
from sidecar.tokens.opaque import Kind, Pepper, Purpose, Secret, read_secret
from sidecar.vocabulary.people import Actor, Status, UserId, UserRecord

RESET_SECONDS: Final = 3600
_EXPIRY: Final = 8  # characters: 40 bits of seconds
_PROOF: Final = 24  # characters: 120 bits of MAC


@dataclass(frozen=True, slots=True)
class ResetLink:
    """Whoever opens it may choose the password."""

    url: str = field(repr=False)
    expires_at: int


@dataclass(frozen=True, slots=True)
class ResetGone:
    """Unknown, expired, used, or overtaken by another password: nobody is told which."""


ResetOutcome = Grant | WeakPassword | Overloaded | ResetGone


class PasswordReset:
    """Makes links and redeems them. ``clock``: Unix seconds."""

    def __init__(
        self,
        *,
        users: Users,
        hashing: Hashing,
        issuer: Issuer,
        fleet: Fleet,
        pepper: Pepper,
        public_url: str,
        clock: Clock,
    ) -> None:
        self._users = users
        self._hashing = hashing
        self._issuer = issuer
        self._fleet = fleet
        self._pepper = pepper
        self._public_url = public_url
        self._clock = clock

    def link(self, record: UserRecord) -> ResetLink:
        """For an active user, good for an hour or until the credential epoch moves on."""
        expires_at = int(self._clock()) + RESET_SECONDS
        return ResetLink(reset_link(self._public_url, self._secret(record.id, record.epoch, expires_at)), expires_at)

    async def reset(self, token: str, password: str, client: Client) -> ResetOutcome:
        """Every session ends and one begins; a weak password leaves the link unspent. Nothing is hashed before the
        secret has proven itself (R17)."""
        record = await self._proven(token)
        if record is None:
            return ResetGone()
        weak = await asyncio.to_thread(weaknesses, password, email=record.email)
        normal = normalise_password(password)
        if weak or normal is None:
            return WeakPassword(weak)
        hashed = await self._hashing.hash(Lane.PROVEN, record.id, normal)
        if isinstance(hashed, Overloaded):
            return hashed
        session = self._issuer.new_session(client)
        actor = Actor.bearer(record.id, address=client.address, request_id=client.request_id)
        outcome = await self._users.change_password(
            record.id, expected_epoch=record.epoch, password_hash=hashed, session=session, actor=actor
        )
        match outcome:
            case PasswordChanged(changed, position):
                await everywhere(self._fleet, position)
                return self._issuer.grant(changed, session.id)
            case Stale() | NoUser() | ActorChanged():
                return ResetGone()

    async def _proven(self, token: str) -> UserRecord | None:
        secret = read_secret(Kind.RESET, token)
        if secret is None:
            return None
        expires_at = int.from_bytes(base64.b32decode(secret.secret[:_EXPIRY].upper()), "big")
        if expires_at <= self._clock():
            return None
        record = await self._users.record(secret.user)
        if record is None or record.status is not Status.ACTIVE:
            return None
        expected = self._secret(record.id, record.epoch, expires_at)
        return record if hmac.compare_digest(expected.secret, secret.secret) else None

    def _secret(self, user: UserId, epoch: int, expires_at: int) -> Secret:
        account = account_of(user)
        if account is None:
            raise ValueError("a reset needs a well-formed user id")
        proof = self._pepper.mac(Purpose.RESET, user, str(epoch), str(expires_at))
        expiry = letters(expires_at.to_bytes(5, "big"), _EXPIRY)
        return Secret(Kind.RESET, account, user[-12:], expiry + letters(proof, _PROOF))


class Forgotten:
    """``POST /v1/password/forgot``. Without an outbox nothing is sent: operators make links (user reset-password)."""

    def __init__(
        self, *, users: Users, accounts: Accounts, reset: PasswordReset, outbox: Outbox | None, limits: Limits
    ) -> None:
        self._users = users
        self._accounts = accounts
        self._reset = reset
        self._outbox = outbox
        self._limits = limits

    def ask(self, typed: str, address: str) -> None:
        """Leaves it to be looked into later: the answer must not depend on it, nor on how long it takes."""
        if self._outbox is not None:
            self._outbox.post(partial(self._letters, typed, address))

    async def _letters(self, typed: str, address: str) -> Sequence[Letter]:
        asked = parse(typed)
        if asked is None or not await self._limits.may_ask(address):
            return ()
        found = await self._links(asked)
        if not found or not await self._limits.may_mail(asked.email):
            return ()
        return [
            reset_letter(mailbox, [(name, link.url) for name, link in links], min(link.expires_at for _, link in links))
            for mailbox, links in found.items()
        ]

    async def _links(self, asked: Address) -> dict[str, list[tuple[str, ResetLink]]]:
        """Account names and links by mailbox, wherever the mailbox that was asked for is an active user's.

        The folded form only finds candidates: a user whose mailbox is another one gets no mail.
        """
        found: dict[str, list[tuple[str, ResetLink]]] = {}
        for place in await self._users.accounts_of(asked.email):
            user = await self._users.find(place, asked.email)
            record = None if user is None else await self._users.record(user)
            account = await self._accounts.find(place)
            if record is None or account is None or record.status is not Status.ACTIVE:
                continue
            if not is_same_mailbox(record.mailbox, asked.mailbox):
                continue
            if await self._limits.may_mail_for(place):
                found.setdefault(record.mailbox, []).append((account.name, self._reset.link(record)))
        return found
