"""Sessions and password resets of other users over HTTP, for callers who may manage them. `identity` decides."""

from typing import Any

import msgspec

from sidecar.api.serializers import revocation_headers, rfc3339, to_session
from sidecar.domain.problems import Code, Problem
from sidecar.http import schemas
from sidecar.http.endpoint import Endpoint, RequirePermission
from sidecar.http.problems import not_found, rate_limited, refusal
from sidecar.http.request import Request, Response
from sidecar.identity.credential_admin import Refused, ResetSent
from sidecar.identity.hash_limits import Limited
from sidecar.store.live.fleet import Revocation
from sidecar.store.outcomes import NotActive, NoUser, StillInvited


class ResetRequestBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Reset of a user's password. ``show``: return a link to hand over, which proves no e-mail."""

    show: bool = False


class ShownReset(msgspec.Struct, frozen=True):
    """Link to choose a new password. Its use makes the e-mail unverified."""

    url: str
    expires_at: schemas.When


class ResetCreated(msgspec.Struct, frozen=True):
    """Result of a reset. ``mailed``: a mail with its own link is queued. ``reset`` is null unless ``show`` was set."""

    mailed: bool
    reset: ShownReset | None


async def sessions(call: Request[None]) -> Response | Problem:
    """Return the live sessions of a user, newest first (``GET /v1/users/{id}/sessions``, R11)."""
    outcome = await call.app.people.credentials.sessions(
        call.actor, call.policy, call.caller.record.account, call.names["id"]
    )
    if not isinstance(outcome, list):
        return refused_credential(outcome)
    return Response(200, schemas.Sessions([to_session(one, call.caller.claims.session) for one in outcome]))


async def sign_out(call: Request[None]) -> Response | Problem:
    """End all sessions of a user and revoke all tokens (``DELETE /v1/users/{id}/sessions``, R11).

    All sidecars reject them when the response is sent.
    """
    if is_own(call):
        return Problem(Code.USE_ME, "this is your own user; DELETE /v1/me/sessions ends your other sessions")
    outcome = await call.app.people.credentials.sign_out(
        call.actor, call.policy, call.caller.record.account, call.names["id"]
    )
    if not isinstance(outcome, Revocation):
        return refused_credential(outcome)
    return Response(204, None, revocation_headers(outcome))


async def reset_password(call: Request[ResetRequestBody]) -> Response | Problem:
    """Mail a user a link to choose a new password (``POST /v1/users/{id}/password-reset``, R11).

    With ``show`` the response contains a link as well, once, and the audit has it. Its use makes the e-mail unverified.
    """
    if is_own(call):
        return Problem(Code.USE_ME, "this is your own user; POST /v1/me/password changes your password")
    outcome = await call.app.people.credentials.send_reset(
        call.actor, call.policy, call.caller.record.account, call.names["id"], show=call.body.show
    )
    match outcome:
        case ResetSent(mailed, link):
            shown = None if link is None else ShownReset(link.url, rfc3339(link.expires_at))
            return Response(200, ResetCreated(mailed, shown))
        case NotActive():
            return Problem(Code.NOT_ACTIVE, "the user is suspended or held for review; make the user active first")
        case _:
            return refused_credential(outcome)


def is_own(call: Request[Any]) -> bool:
    """Return whether the caller names itself. A stolen session must not replace the password without the old one."""
    return call.names["id"] == call.caller.record.id


def refused_credential(outcome: Refused) -> Problem:
    """Return the problem of a change of another user's credentials."""
    match outcome:
        case NoUser():
            return not_found("user")
        case StillInvited():
            return Problem(
                Code.ALREADY_INVITED,
                "the user has not accepted the invitation yet, and has neither sessions nor a password; "
                "for a new link POST /v1/users/{id}/invitation",
            )
        case Limited(retry_after):
            return rate_limited(retry_after)
        case _:
            return refusal(outcome)


_MANAGE = RequirePermission("users", "manage")

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET",
        "/v1/users/{id}/sessions",
        _MANAGE,
        sessions,
        "Live sessions of a user",
        statuses=(200, 403, 404, 409),
        response_schema=schemas.Sessions,
    ),
    Endpoint(
        "DELETE",
        "/v1/users/{id}/sessions",
        _MANAGE,
        sign_out,
        "Sign a user out everywhere",
        statuses=(204, 403, 404, 409, 429),
    ),
    Endpoint(
        "POST",
        "/v1/users/{id}/password-reset",
        _MANAGE,
        reset_password,
        "Send a user a link to choose a new password",
        ResetRequestBody,
        statuses=(200, 400, 403, 404, 409, 429),
        response_schema=ResetCreated,
    ),
)
