"""Password reset over HTTP: request a link by mail, and set a new password with it. `identity` decides."""

from typing import assert_never

import msgspec

from sidecar.api.serializers import to_grant, to_password_set
from sidecar.domain.problems import Code, Problem
from sidecar.http import schemas
from sidecar.http.endpoint import Endpoint, Require
from sidecar.http.problems import overloaded, weak_password
from sidecar.http.request import Request, Response
from sidecar.identity.hashing import Overloaded
from sidecar.identity.password_reset import ResetGone
from sidecar.identity.passwords import WeakPassword
from sidecar.identity.sessions import Grant, PasswordSet


class ForgotBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The e-mail of the user, in any account."""

    email: schemas.Text


class ResetBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """New password. ``token``: the fragment of the link, after the #.

    ``tokens``: false opens no session and returns no token (200 instead of 201).
    """

    token: schemas.Secret
    password: schemas.Secret
    tokens: bool = True

    def __repr__(self) -> str:
        return "ResetBody(…)"


async def forgot(call: Request[ForgotBody]) -> Response:
    """Request a reset link (``POST /v1/password/forgot``). The response is the same for an unknown e-mail (R12)."""
    await call.app.people.forgotten.ask(call.body.email, call.address)
    return Response(202, schemas.Message("If a user has this e-mail, a link will be sent to it."))


async def reset(call: Request[ResetBody]) -> Response | Problem:
    """Set a new password with a link, and return tokens (``POST /v1/password/reset``). Sets no cookie (R5)."""
    outcome = await call.app.people.password_reset.reset(
        call.body.token, call.body.password, call.client, sign_in=call.body.tokens
    )
    match outcome:
        case Grant():
            return Response(201, to_grant(outcome))
        case PasswordSet(record):
            return Response(200, to_password_set(record))
        case ResetGone():
            return Problem(Code.INVITATION_GONE, "this link is invalid or has expired; request a new one")
        case WeakPassword(weaknesses):
            return weak_password(weaknesses)
        case Overloaded(retry_after):
            return overloaded(retry_after)
        case _:
            assert_never(outcome)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "POST",
        "/v1/password/forgot",
        Require.OPEN,
        forgot,
        "Ask for a link to choose a new password",
        ForgotBody,
        statuses=(202, 400, 413),
        response_schema=schemas.Message,
    ),
    Endpoint(
        "POST",
        "/v1/password/reset",
        Require.OPEN,
        reset,
        "Choose a new password by a link",
        ResetBody,
        statuses=(201, 200, 400, 410, 413, 422, 503),
        response_schema=schemas.Grant,
        other_responses={200: schemas.PasswordSetResponse},
    ),
)
