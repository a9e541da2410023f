"""What an access token says. Ids and times alone: no role and no permission, both come from the live record."""

from dataclasses import dataclass

from sidecar.domain.users import AccountId, SessionId, UserId


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of one access token, already of exact type. Times are Unix seconds, ``epoch`` is ``tv``.

    A token of a trusted outside issuer has a ``subject``, its user's name over there, and no session (``""``);
    user, account and epoch are then those of the live record that it was matched with (R10).
    """

    issuer: str
    audience: str
    user: UserId
    account: AccountId
    session: SessionId
    jti: str
    issued_at: int
    expires_at: int
    epoch: int
    not_before: int | None = None
    subject: str = ""
