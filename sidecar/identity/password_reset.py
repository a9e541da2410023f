"""Password reset: a mailed link, exchanged for a new password (R12).

The link's secret is a MAC over user, epoch, role, expiry and, of a shown link, its maker. It is not stored. A reset and
any password change raise the epoch, so a link works once and becomes invalid with a password change. A request for a
link writes nothing, so a crowd cannot fill the store. Responses never reveal whether an e-mail is known.
"""

import base64
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from sidecar.domain.sessions import Method, NewProof
from sidecar.domain.users import Actor, UserId, UserRecord
from sidecar.identity.emails import EmailAddress, is_same_mailbox, parse
from sidecar.identity.hash_limits import LoginLimits, MailSource
from sidecar.identity.hashing import Hashing, Overloaded, Priority
from sidecar.identity.mail import MailMessage
from sidecar.identity.mail_templates import reset_mail
from sidecar.identity.outbox import MailOutcome, Outbox
from sidecar.identity.passwords import WeakPassword, check_password
from sidecar.identity.revocation_wait import wait_until_applied
from sidecar.identity.secret_links import reset_link
from sidecar.identity.security_mails import SecurityChange, SecurityMails
from sidecar.identity.sessions import Client, Clock, Grant, Issuer, PasswordSet
from sidecar.store.accounts import Accounts
from sidecar.store.connection import StoreUnavailableError
from sidecar.store.live.fleet import Fleet
from sidecar.store.outcomes import ActorChanged, NoUser, ResetUse, Stale
from sidecar.store.users import PasswordChanged, Users
from sidecar.tokens.ids import account_of, letters
from sidecar.tokens.opaque import Pepper, Purpose, Secret, SecretKind, read_secret

RESET_SECONDS: Final = 3600
_EXPIRY: Final = 8  # characters: 40 bits of seconds
_PROOF: Final = 24  # characters: 120 bits of MAC


@dataclass(frozen=True, slots=True)
class ResetLink:
    """Reset link. Its holder can set the password. ``expires_at``: Unix seconds."""

    url: str = field(repr=False)
    expires_at: int


@dataclass(frozen=True, slots=True)
class ResetGone:
    """Invalid link: unknown, expired, used or outdated by a password change. The response is the same for all."""


ResetOutcome = Grant | PasswordSet | WeakPassword | Overloaded | ResetGone


class PasswordReset:
    """Service that creates and redeems reset links. ``clock`` returns Unix seconds."""

    def __init__(
        self,
        users: Users,
        hashing: Hashing,
        issuer: Issuer,
        fleet: Fleet,
        mails: SecurityMails,
        *,
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
        self._mails = mails

    def link(self, record: UserRecord, *, shown: bool = False, maker: Actor | None = None) -> ResetLink:
        """Create a link for an active user, valid for an hour or until the epoch rises or the role changes.

        The proof contains the role: permission to create a link was checked for that role (R11).

        ``shown``: a person other than the mailbox's owner sees the link, so that using it proves no e-mail (R9).
        ``maker``: that person, if a user; the link ends when the maker is not active any more or has another role.
        """
        expires_at = int(self._clock()) + RESET_SECONDS
        by = (maker.user, maker.role) if maker is not None and maker.user is not None else None
        secret = self._secret(record, expires_at, shown=shown, maker=by)
        return ResetLink(reset_link(self._public_url, secret), expires_at)

    async def reset(self, token: str, password: str, client: Client, *, sign_in: bool = True) -> ResetOutcome:
        """Set a new password and end every session. A weak password leaves the link unused.

        ``sign_in``: open a session afterwards, unless the user has a second factor (R36). The secret is verified before
        hashing (R17). Raises StoreUnavailableError.
        """
        proven = await self._proven(token)
        if proven is None:
            return ResetGone()
        record, use = proven
        normal = await check_password(password, email=record.email)
        if isinstance(normal, WeakPassword):
            return normal
        hashed = await self._hashing.hash(Priority.PROVEN, record.id, normal)
        if isinstance(hashed, Overloaded):
            return hashed
        proof = NewProof(Method.PASSWORD)
        session = self._issuer.new_session(client, proof, mailed_link=not use.shown) if sign_in else None
        actor = Actor.bearer(record.id, address=client.address, request_id=client.request_id)
        outcome = await self._users.change_password(
            record.id,
            expected_epoch=record.epoch,
            expected_role=record.role,
            password_hash=hashed,
            session=session,
            actor=actor,
            reset=use,
        )
        match outcome:
            case PasswordChanged(changed, position):
                self._mails.report(changed, SecurityChange.PASSWORD_CHANGED)
                await wait_until_applied(self._fleet, position)
                # R36: the script opens no session for a user with a second factor.
                opened = session is not None and session.id in changed.sessions
                return self._issuer.grant(changed, session.id) if session and opened else PasswordSet(changed)
            case Stale() | NoUser() | ActorChanged():
                return ResetGone()

    async def _proven(self, token: str) -> tuple[UserRecord, ResetUse] | None:
        """Return the user of a valid link, and what the audit holds of the link. None: the link is invalid."""
        secret = read_secret(SecretKind.RESET, token)
        if secret is None:
            return None
        expires_at = int.from_bytes(base64.b32decode(secret.secret[:_EXPIRY].upper()), "big")
        if expires_at <= self._clock():
            return None
        record = await self._users.record(secret.user)
        if record is None or not record.may_sign_in:
            return None
        maker = await self._maker(secret)
        for shown in (False, True):
            expected = self._secret(record, expires_at, shown=shown, maker=maker)
            if hmac.compare_digest(expected.text, secret.text):
                return record, ResetUse(shown, maker[0] if maker else None)
        return None

    async def _maker(self, secret: Secret) -> tuple[UserId, str] | None:
        """Return id and current role of the active user that the secret names, else None."""
        if not secret.maker:
            return None
        maker = await self._users.record(replace(secret, owner=secret.maker).user)
        return (maker.id, maker.role) if maker is not None and maker.may_sign_in else None

    def _secret(
        self, record: UserRecord, expires_at: int, *, shown: bool, maker: tuple[UserId, str] | None = None
    ) -> Secret:
        account = account_of(record.id)
        if account is None:
            raise ValueError("a reset needs a well-formed user id")
        kind = "shown" if shown else "mailed"
        proof = self._pepper.mac(
            Purpose.RESET, record.id, str(record.epoch), record.role, str(expires_at), kind, *(maker or ())
        )
        expiry = letters(expires_at.to_bytes(5, "big"), _EXPIRY)
        by = maker[0][-12:] if maker else ""
        return Secret(SecretKind.RESET, account, record.id[-12:], expiry + letters(proof, _PROOF), by)


class PasswordResetRequests:
    """Service for ``POST /v1/password/forgot``. Without an outbox no mail is sent, and operators create links with
    `sidecar user reset-password`."""

    def __init__(
        self, *, users: Users, accounts: Accounts, reset: PasswordReset, outbox: Outbox | None, limits: LoginLimits
    ) -> None:
        self._users = users
        self._accounts = accounts
        self._reset = reset
        self._outbox = outbox
        self._limits = limits

    async def ask(self, typed: str, address: str) -> None:
        """Queue the lookup. Neither the response nor its time depends on ``typed``, which is not parsed here.

        The address's limit is checked first, so that one stranger cannot fill the shared queue.
        """
        if self._outbox is None:
            return
        try:
            admitted = await self._limits.may_ask(address)
        except StoreUnavailableError:
            self._outbox.reject(MailSource.ANONYMOUS, MailOutcome.STORE_UNAVAILABLE)
            return
        if admitted:
            self._outbox.post(partial(self._messages, self._outbox, typed), MailSource.ANONYMOUS)
        else:
            self._outbox.reject(MailSource.ANONYMOUS, MailOutcome.ADDRESS_LIMIT)

    async def _messages(self, outbox: Outbox, typed: str) -> Sequence[MailMessage]:
        address = parse(typed)
        records = [] if address is None else await self._records(address)
        if address is None or not records:
            return ()
        if not await self._limits.may_mail(address.email, MailSource.ANONYMOUS):
            outbox.reject(MailSource.ANONYMOUS, MailOutcome.RECIPIENT_LIMIT)
            return ()
        links: dict[str, list[tuple[str, ResetLink]]] = {}
        for name, record in records:
            if await self._limits.may_mail_for(record.account, MailSource.ANONYMOUS):
                links.setdefault(record.mailbox, []).append((name, self._reset.link(record)))
            else:
                outbox.reject(MailSource.ANONYMOUS, MailOutcome.ACCOUNT_LIMIT)
        return [
            reset_mail(mailbox, [(name, link.url) for name, link in made], min(link.expires_at for _, link in made))
            for mailbox, made in links.items()
        ]

    async def _records(self, address: EmailAddress) -> list[tuple[str, UserRecord]]:
        """Return account names and records of the active users with the requested mailbox.

        The folded form only finds candidates: a user with another mailbox gets no mail.
        """
        found: list[tuple[str, UserRecord]] = []
        for place in await self._users.accounts_of(address.email):
            user = await self._users.find(place, address.email)
            record = None if user is None else await self._users.record(user)
            account = await self._accounts.find(place)
            if record is None or account is None or not record.may_sign_in:
                continue
            if is_same_mailbox(record.mailbox, address.mailbox):
                found.append((account.name, record))
        return found
