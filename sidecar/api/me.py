"""Self-service of signed-in users: profile, permissions, password, sessions, account."""

from typing import assert_never

import msgspec

from sidecar.api.serializers import revocation_headers, to_me, to_revocation, to_seats, to_session
from sidecar.api.session_cookies import session_cookies
from sidecar.domain.access import CredentialSource, Target
from sidecar.domain.problems import Code, Problem
from sidecar.domain.users import SessionId
from sidecar.http import schemas
from sidecar.http.endpoint import Endpoint, Require
from sidecar.http.permission_schemas import Permission, Permissions
from sidecar.http.policy_schemas import ConditionShown
from sidecar.http.problems import actor_changed, bad_name, not_found, overloaded, rate_limited, weak_password
from sidecar.http.request import Request, Response
from sidecar.identity.display_names import clean_person
from sidecar.identity.hash_limits import Limited
from sidecar.identity.hashing import Overloaded
from sidecar.identity.password_change import Mismatch, NewPassword, Replaced, SamePassword
from sidecar.identity.password_proof import WrongPassword
from sidecar.identity.passwords import WeakPassword
from sidecar.identity.profile import Renamed
from sidecar.identity.revocation_wait import already_everywhere, wait_until_applied
from sidecar.policy.decide import title_of
from sidecar.policy.generation import Generation
from sidecar.store.factor_proofs import FactorRequired
from sidecar.store.outcomes import ActorChanged
from sidecar.store.sessions import Ended, SessionGone


class PasswordBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Change of a password. ``confirm_password``: for forms in which the new one is typed twice."""

    old_password: schemas.Secret
    new_password: schemas.Secret
    confirm_password: schemas.Secret | msgspec.UnsetType = msgspec.UNSET

    def __repr__(self) -> str:
        return "PasswordBody(…)"


class ProfileBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Change of the caller's profile. The e-mail cannot be changed."""

    name: schemas.Text


async def me(call: Request[None]) -> Response:
    """Return the caller's user (``GET /v1/me``)."""
    return Response(200, to_me(call.caller.record, call.policy))


async def rename(call: Request[ProfileBody]) -> Response | Problem:
    """Change the caller's name (``PATCH /v1/me``). The response is that of ``GET /v1/me``."""
    name = clean_person(call.body.name)
    if name is None:
        return bad_name()
    outcome = await call.app.people.profile.rename(call.caller.record, name, call.actor)
    match outcome:
        case Renamed(record, revocation):
            headers = () if revocation is None else revocation_headers(revocation)
            return Response(200, to_me(record, call.policy), headers)
        case ActorChanged():
            return actor_changed()
        case Limited(retry_after):
            return rate_limited(retry_after)
        case _:
            assert_never(outcome)


async def permissions(call: Request[None]) -> Response:
    """Return each section and action with its decision, for menus (``GET /v1/me/permissions``)."""
    role, client = call.caller.record.role, call.known_client
    cells = []
    for section in call.policy.sections.values():
        for action, title in zip(section.actions, section.action_titles, strict=True):
            target = Target(section.id, action)
            decision = call.app.pdp.evaluate(call.policy, call.caller.identity, target, client)
            missing = decision.missing
            cell = Permission(section.id, section.title, action, title, decision.allowed, decision.reason)
            if missing is not None:
                enrol = missing.enrol or msgspec.UNSET
                cell = msgspec.structs.replace(cell, unmet=missing.names, enrol=enrol)
            cells.append(cell)
    conditions = _titles(call.policy, cells) or msgspec.UNSET
    return Response(200, Permissions(role, title_of(call.policy, role), call.policy.id, cells, conditions))


def _titles(generation: Generation, cells: list[Permission]) -> list[ConditionShown]:
    """Return the unmet conditions, in the order of conditions.toml."""
    unmet = {name for cell in cells if cell.unmet is not msgspec.UNSET for name in cell.unmet}
    known = generation.needs.conditions.values() if unmet else ()
    return [ConditionShown(one.name, one.title) for one in known if one.name in unmet]


async def change_password(call: Request[PasswordBody]) -> Response | Problem:
    """Change the caller's password (``POST /v1/me/password``)."""
    confirmation = call.body.confirm_password
    typed = NewPassword(
        old=call.body.old_password,
        new=call.body.new_password,
        confirmation=confirmation if isinstance(confirmation, str) else None,
    )
    outcome = await call.app.people.password_change.change(call.caller.record.id, typed, call.actor, call.client)
    match outcome:
        case Replaced():
            return _replaced(call, outcome)
        case WrongPassword():
            return Problem(Code.WRONG_PASSWORD, "the old password is wrong; nothing was changed")
        case WeakPassword(weaknesses):
            return weak_password(weaknesses)
        case SamePassword():
            return Problem(Code.SAME_PASSWORD, "the new password is the old one; choose another")
        case Mismatch():
            return Problem(Code.PASSWORD_MISMATCH, "new_password and confirm_password differ; type the same twice")
        case FactorRequired():
            detail = "you have a second factor; sign in here with it, POST /v1/session, and change the password then"
            return Problem(Code.SECOND_FACTOR_REQUIRED, detail, as_status=403)
        case ActorChanged():
            return actor_changed()
        case Limited(retry_after):
            return rate_limited(retry_after)
        case Overloaded(retry_after):
            return overloaded(retry_after)
        case _:
            assert_never(outcome)


def _replaced(call: Request[PasswordBody], done: Replaced) -> Response:
    """Return the new tokens, which replace all others, as the old one was sent: a browser's in cookies (R5)."""
    revocation = done.revocation
    message = "Password changed. All older tokens are revoked"
    message += "." if revocation.complete else " as soon as all sidecars have applied the change."
    grant, body = done.grant, schemas.PasswordChanged(message, done.grant.expires_in, to_revocation(revocation))
    if call.caller.proof is CredentialSource.COOKIE:
        return Response(200, body, (*session_cookies(call, grant), *revocation_headers(revocation)))
    tokens = {"access_token": grant.access_token, "refresh_token": grant.refresh_token, "token_type": "Bearer"}
    return Response(200, msgspec.structs.replace(body, **tokens), revocation_headers(revocation))


async def sessions(call: Request[None]) -> Response:
    """Return the live sessions, newest first (``GET /v1/me/sessions``)."""
    live = await call.app.people.sessions.listing(call.caller.record.id)
    return Response(200, schemas.Sessions([to_session(one, call.caller.claims.session) for one in live]))


async def end_session(call: Request[None]) -> Response | Problem:
    """End a session (``DELETE /v1/me/sessions/{sid}``). Its tokens are rejected when the response is sent."""
    ended = await call.app.people.sessions.end(call.caller.record.id, (SessionId(call.names["sid"]),), call.actor)
    if isinstance(ended, SessionGone):
        await already_everywhere(call.app.people.fleet, ended.position)
        return not_found("session")
    return await _ended(call, ended)


async def end_other_sessions(call: Request[None]) -> Response | Problem:
    """End all sessions except the caller's (``DELETE /v1/me/sessions``)."""
    caller = call.caller
    ended = await call.app.people.sessions.end_others(caller.record.id, caller.claims.session, call.actor)
    if isinstance(ended, SessionGone):  # there was no other session
        await already_everywhere(call.app.people.fleet, ended.position)
        return Response(204)
    return await _ended(call, ended)


async def _ended(call: Request[None], ended: Ended | ActorChanged) -> Response | Problem:
    match ended:
        case Ended(_, _, position):
            return Response(204, None, revocation_headers(await wait_until_applied(call.app.people.fleet, position)))
        case ActorChanged():
            return actor_changed()
        case _:
            assert_never(ended)


async def account(call: Request[None]) -> Response | Problem:
    """Return the caller's account: name, id, seats, labels (``GET /v1/account``)."""
    found = await call.app.people.accounts.find(call.caller.record.account)
    if found is None:
        return not_found("account")
    seats = to_seats(found.seats, call.app.public_config.seat_contact)
    return Response(200, schemas.Account(found.id, found.name, seats, dict(found.labels)))


_SIGNED_IN = Require.SIGNED_IN

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/v1/me", _SIGNED_IN, me, "My user", response_schema=schemas.Me),
    Endpoint(
        "PATCH",
        "/v1/me",
        _SIGNED_IN,
        rename,
        "Change my name",
        ProfileBody,
        statuses=(200, 409, 429),
        response_schema=schemas.Me,
    ),
    Endpoint(
        "GET",
        "/v1/me/permissions",
        _SIGNED_IN,
        permissions,
        "My permissions: each section and action",
        response_schema=Permissions,
    ),
    Endpoint(
        "POST",
        "/v1/me/password",
        _SIGNED_IN,
        change_password,
        "Change my password; revokes all older tokens",
        PasswordBody,
        statuses=(200, 403, 409, 422, 429, 503),
        response_schema=schemas.PasswordChanged,
    ),
    Endpoint("GET", "/v1/me/sessions", _SIGNED_IN, sessions, "My live sessions", response_schema=schemas.Sessions),
    Endpoint(
        "DELETE",
        "/v1/me/sessions",
        _SIGNED_IN,
        end_other_sessions,
        "End all my other sessions",
        statuses=(204, 409),
    ),
    Endpoint("DELETE", "/v1/me/sessions/{sid}", _SIGNED_IN, end_session, "End one session", statuses=(204, 404, 409)),
    Endpoint(
        "GET",
        "/v1/account",
        _SIGNED_IN,
        account,
        "My account and its seats",
        statuses=(200, 404),
        response_schema=schemas.Account,
    ),
)
