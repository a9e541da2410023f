"""Queries about users: the role behind an e-mail or id, and the users of an account.

The only part of `policy` that reads the store.
"""

from sidecar.cli.output import answer_no
from sidecar.cli.store_session import account_of, run_with_store
from sidecar.config.settings import Settings
from sidecar.domain.users import UserId, UserRecord
from sidecar.identity.emails import normalise
from sidecar.server.admin_context import AdminContext
from sidecar.store.outcomes import NoAccount


def record_of(settings: Settings, user: str, account: str | None) -> UserRecord:
    """Return the live record of an id, or of an e-mail in the account. ``account`` may be None with one account."""

    async def job(operator: AdminContext) -> UserRecord:
        email = normalise(user)
        uid: UserId | None = UserId(user)
        if email is not None or account is not None:
            found = await account_of(operator, account)
            if email is not None:
                uid = await operator.people.users.find(found.id, email)
        record = await operator.people.users.record(uid) if uid is not None else None
        if record is None:
            raise answer_no(f"there is no user {user!r}: sidecar user list names them")
        return record

    return run_with_store(settings, job)


def members_of(settings: Settings, account: str) -> list[UserRecord]:
    """Return the live records of the active users of an account."""

    async def job(operator: AdminContext) -> list[UserRecord]:
        found = await account_of(operator, account)
        roster = await operator.people.users.roster(found.id)
        if isinstance(roster, NoAccount):  # deleted a moment ago
            raise answer_no(f"there is no account {account!r}: sidecar account list names them")
        return [member.record for member in roster.members if member.record.may_sign_in]

    return run_with_store(settings, job)
