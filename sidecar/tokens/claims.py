"""Claims of an access token: ids and times. Role and permissions are absent: both come from the live record."""

from dataclasses import dataclass

from sidecar.domain.users import AccountId, SessionId, UserId


@dataclass(frozen=True, slots=True)
class Claims:
    """Validated claims of one access token. Times are Unix seconds, ``epoch`` is ``tv``.

    A token of an external issuer has a ``subject`` (the user's id at that issuer) and an empty ``session``. Its user,
    account and epoch are those of the matching live record (R10).

    ``auth_time`` and ``amr`` (RFC 8176) are for other readers of a token to be signed. They decide nothing here, and a
    verified token has the defaults.
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
    auth_time: int | None = None
    amr: tuple[str, ...] = ()
