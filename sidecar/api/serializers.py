"""Response Structs from the values of `domain`, `identity` and `store`, for the API and for ``--json``."""

from datetime import UTC, datetime

from sidecar.domain.users import Member, Review, Seats, SessionId, UserRecord
from sidecar.http import permission_schemas, schemas
from sidecar.identity.sessions import Grant
from sidecar.policy.decide import opens, title_of
from sidecar.policy.declarations import Role
from sidecar.policy.generation import Generation
from sidecar.store.invitations import LiveInvitation
from sidecar.store.live.fleet import Revocation
from sidecar.store.sessions import Session


def rfc3339(seconds: int) -> str:
    """Return a time in RFC 3339, UTC. ``seconds``: Unix time."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def when(seconds: int | None) -> str | None:
    """Return a time as `rfc3339`, or None."""
    return None if seconds is None else rfc3339(seconds)


def to_user(record: UserRecord) -> schemas.User:
    return schemas.User(record.id, record.email, record.name, record.role, record.status, record.account)


def to_me(record: UserRecord, generation: Generation) -> schemas.Me:
    """Return the caller's user with the title of the role."""
    return schemas.Me(
        record.id,
        record.email,
        record.name,
        record.role,
        record.status,
        record.account,
        role_title=title_of(generation, record.role),
        email_verified=record.email_verified,
    )


def to_password_set(record: UserRecord) -> schemas.PasswordSetResponse:
    return schemas.PasswordSetResponse(to_user(record), record.account)


def to_shown_invitation(shown: LiveInvitation, generation: Generation) -> schemas.ShownInvitation:
    """Return an invitation with the titles of its role and of the sections that the role opens."""
    record = shown.member.record
    titles = [generation.sections[section].title for section in opens(generation, record.role)]
    role = schemas.InvitedRole(record.role, title_of(generation, record.role), titles)
    return schemas.ShownInvitation(
        shown.account_name, shown.inviter, role, record.email, record.name, rfc3339(shown.expires_at)
    )


def to_role(generation: Generation, role: Role) -> permission_schemas.Role:
    """Return a role with its allowed cells, in the order of sections.toml."""
    allowed = generation.allowed.get(role.id, frozenset())
    cells = [
        permission_schemas.Cell(section.id, section.title, action, title)
        for section in generation.sections.values()
        for action, title in zip(section.actions, section.action_titles, strict=True)
        if (section.id, action) in allowed
    ]
    every = sum(len(section.actions) for section in generation.sections.values())
    return permission_schemas.Role(
        role.id, role.title, role.description, opens(generation, role.id), cells, len(cells) == every
    )


def to_edited_user(record: UserRecord, revocation: Revocation | None) -> schemas.EditedUser:
    """Return an edited user. ``revocation`` is None if nothing changed."""
    revoked = None if revocation is None else to_revocation(revocation)
    return schemas.EditedUser(
        record.id, record.email, record.name, record.role, record.status, record.account, revocation=revoked
    )


def to_member(member: Member) -> schemas.Member:
    record = member.record
    return schemas.Member(
        id=record.id,
        email=record.email,
        name=record.name,
        role=record.role,
        status=record.status,
        created_at=rfc3339(member.created_at),
        last_login_at=when(member.last_login_at),
        invite_expires_at=when(member.invite_expires_at),
        review=to_review(record.review),
        email_verified=record.email_verified,
        sessions=len(record.sessions),
        inviter=member.inviter,
        factors=len(record.factors),
    )


def to_review(review: Review | None) -> schemas.Review | None:
    """Return the lost change for which a user is held (R48), or None."""
    if review is None:
        return None
    return schemas.Review(
        review.role_before, review.role_now, review.status_before, review.status_now, rfc3339(review.since)
    )


def to_seats(seats: Seats, contact: str) -> schemas.Seats:
    """Return the seats. ``contact``: address for ordering more (SIDECAR_SEAT_CONTACT); null if empty."""
    return schemas.Seats(seats.cap, seats.used, seats.members, len(seats.invitations), seats.available, contact or None)


def to_seats_with_invitations(seats: Seats, contact: str) -> schemas.SeatsWithInvitations:
    """Return the seats with the invitations that could be ended to free one."""
    shown = to_seats(seats, contact)
    pending = [schemas.PendingInvitation(one.user, one.email, rfc3339(one.expires_at)) for one in seats.invitations]
    return schemas.SeatsWithInvitations(
        shown.cap, shown.used, shown.members, shown.invited, shown.available, shown.contact, invitations=pending
    )


def to_revocation(revocation: Revocation) -> schemas.Revocation:
    """Return the progress of a change at the time of its response (R31)."""
    return schemas.Revocation(revocation.complete, revocation.sidecars, revocation.waited_ms)


def revocation_headers(revocation: Revocation) -> tuple[tuple[str, str], ...]:
    """Return headers with the revision of a change (R30), and whether all sidecars have applied it."""
    return (
        ("X-Sidecar-Revision", str(revocation.revision)),
        ("X-Sidecar-Revocation", "complete" if revocation.complete else "incomplete"),
    )


def to_session(session: Session, current: SessionId) -> schemas.Session:
    return schemas.Session(
        id=session.id,
        current=session.id == current,
        created_at=rfc3339(session.created_at),
        refreshed_at=rfc3339(session.refreshed_at),
        expires_at=rfc3339(session.expires_at),
        address=session.address,
        agent=session.agent,
    )


def to_grant(grant: Grant) -> schemas.Grant:
    return schemas.Grant(
        access_token=grant.access_token,
        token_type="Bearer",  # noqa: S106 (no secret)
        expires_in=grant.expires_in,
        refresh_token=grant.refresh_token,
        scope="",
        account=grant.record.account,
        user=to_user(grant.record),
    )
