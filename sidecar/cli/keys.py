"""``sidecar keys``: lists, rotates and revokes the keys that sign access tokens (R21)."""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar, assert_never

import click

from sidecar.api.serializers import when
from sidecar.cli.new_store import consent, new_store_option
from sidecar.cli.options import STORE, settings_from, settings_options
from sidecar.cli.output import (
    CliError,
    answer_no,
    json_option,
    print_json,
    print_pairs,
    print_table,
    unavailable,
    usage_error,
)
from sidecar.cli.store_session import run_with_store
from sidecar.server.admin_context import AdminContext
from sidecar.server.key_rotation import (
    KeyPublished,
    KeyRevoked,
    KeysRotated,
    NoSuchKey,
    NotFollowed,
    NothingPublished,
    Rotation,
)
from sidecar.sources.key_files import KeyFileError
from sidecar.sources.key_rotation import KeyFile, list_keys

F = TypeVar("F", bound=Callable[..., Any])
_REPLACE = "replace the Secret with this directory and restart the pods"
KID_WITH_HYPHEN = re.compile(r"-[A-Za-z0-9_-]{42}")


class TakesKid(click.Command):
    """Command that accepts a kid with a leading hyphen, which click would parse as options.

    A kid is base64url of a digest (RFC 7638), so 1 in 64 starts with a hyphen.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        kids = [arg for arg in args if KID_WITH_HYPHEN.fullmatch(arg)]
        if kids and "--" not in args:
            args = [*(arg for arg in args if arg not in kids), "--", *kids]
        return super().parse_args(ctx, args)


@click.group()
def keys() -> None:
    """The keys that sign access tokens. KID is a key's id, as in a token's header."""


@keys.command("list")
@settings_options(["state_dir", "keys_dir", "keys_group_read"])
@json_option
def list_(as_json: bool, **flags: str | None) -> None:
    """List the keys of the key directory with their states, the oldest first.

    "active": new tokens are signed with it. "pending": published by a rotation that is not finished. "retired": it
    does not sign any more, and its tokens are still accepted. "unmanaged": its tokens are accepted, and no rotation
    made it. "former": only the public half is left, until 90 days after the key signed last. It renews browser sessions
    whose access cookie it signed, and verifies nothing else.
    """
    settings = settings_from(flags)
    try:
        found = list_keys(settings.keys_dir, group_read=settings.keys_group_read)
    except KeyFileError as problem:
        raise usage_error(str(problem)) from None
    if as_json:
        print_json({"keys": [_key_json(file) for file in found]})
        return
    rows = ((file.kid, file.state.value, when(file.made_at), when(file.retired_at), file.path.name) for file in found)
    print_table(["kid", "state", "made", "retired", "file"], rows)


def _key_json(file: KeyFile) -> dict[str, Any]:
    return {
        "kid": file.kid,
        "state": file.state.value,
        "made_at": when(file.made_at),
        "retired_at": when(file.retired_at),
        "file": str(file.path),
    }


def patience(verb: F) -> F:
    about = "Seconds for the sidecars to load the keys."
    return click.option("--timeout", type=click.FloatRange(0.1, 600), default=30, show_default=True, help=about)(verb)


@keys.command()
@patience
@click.option(
    "--hold",
    type=click.FloatRange(0, 86_400),
    default=0,
    show_default=True,
    help="Seconds between publishing the new key and signing with it, for services that cache the JWK Set.",
)
@click.option(
    "--step",
    type=click.Choice(["publish", "sign"]),
    help="One of two steps, for sidecars that read copies of the key directory, such as a Secret.",
)
@new_store_option
@settings_options((*STORE, "lease"))
@json_option
def rotate(timeout: float, hold: float, step: str | None, new_store: bool, as_json: bool, **flags: str | None) -> None:
    """Sign with a new key, once every live sidecar has loaded it.

    Tokens of the old key stay valid, so every session continues. Keys that stopped signing more than a day ago are
    removed, except for their public half ("former" in sidecar keys list). The next rotation continues an interrupted
    one.

    Where the keys come from a Secret, rotate a directory that it is made of: --step publish adds the new key, --step
    sign makes it the signing key, once every live sidecar has loaded it. After each step replace the Secret and restart
    the pods.
    """
    if step is not None and hold:
        raise usage_error("--hold and --step: give one of the two; the time between the steps is the hold")
    settings = settings_from(flags)

    async def job(operator: AdminContext) -> KeysRotated | NotFollowed | KeyPublished | NothingPublished:
        rotation = _rotation(operator, timeout, hold)
        if step is None:
            return await rotation.rotate()
        return await (rotation.publish() if step == "publish" else rotation.sign())

    _report_rotation(run_with_store(settings, job, consent(settings, new_store=new_store)), step, as_json)


def _report_rotation(
    outcome: KeysRotated | NotFollowed | KeyPublished | NothingPublished, step: str | None, as_json: bool
) -> None:
    again = "sidecar keys rotate" + (f" --step {step}" if step else "")
    match outcome:
        case KeyPublished(kid, active, removed):
            _say({"published": kid, "active": active, "removed": list(removed)}, as_json)
            click.echo(f"{_REPLACE}, then run sidecar keys rotate --step sign", err=True)
        case NothingPublished():
            raise answer_no("no key is published: run sidecar keys rotate --step publish first")
        case KeysRotated(kid, retired, removed, sidecars, behind):
            reported: dict[str, Any] = {
                "active": kid,
                "retired": retired,
                "removed": list(removed),
                "sidecars": sidecars,
            }
            _say(reported, as_json)
            if step is not None:
                click.echo(_REPLACE, err=True)
            if behind:
                raise _not_followed(behind, "these still sign with the old key, which stays valid")
        case NotFollowed(kid, behind):
            raise _not_followed(behind, f"{kid} is published and does not sign yet; {again} continues from here")
        case _:
            assert_never(outcome)


@keys.command(cls=TakesKid)
@click.argument("kid")
@patience
@settings_options((*STORE, "lease"))
@json_option
def revoke(kid: str, timeout: float, as_json: bool, **flags: str | None) -> None:
    """Revoke a key: from now on every sidecar rejects the access tokens signed with it.

    Sessions continue: a client gets its next access token with its refresh token. A browser with an access cookie
    signed with KID must sign in again. If KID is the signing key, a new key replaces it at once.
    """
    settings = settings_from(flags)

    async def job(operator: AdminContext) -> KeyRevoked | NoSuchKey:
        return await _rotation(operator, timeout).revoke(kid)

    outcome = run_with_store(settings, job)
    match outcome:
        case KeyRevoked():
            reported = {
                "revoked": kid,
                "active": outcome.active,
                "sidecars": outcome.sidecars,
                "complete": outcome.complete,
            }
            _say(reported, as_json)
            if not outcome.complete:
                raise _not_followed(
                    outcome.behind, "the key is removed from the directory, but these may still accept it"
                )
        case NoSuchKey():
            raise answer_no(f"there is no key {kid}: see sidecar keys list")
        case _:
            assert_never(outcome)


def _rotation(operator: AdminContext, timeout: float, hold: float = 0) -> Rotation:
    return Rotation(
        operator.settings.keys_dir,
        operator.people.fleet,
        operator.people.audit,
        clock=time.time,
        patience=timeout,
        hold=hold,
        sleep=asyncio.sleep,
    )


def _say(reported: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(reported)
    else:
        print_pairs({name: ", ".join(value) if isinstance(value, list) else value for name, value in reported.items()})


def _not_followed(behind: tuple[str, ...], what: str) -> CliError:
    named = ", ".join(behind) or "an unknown number of sidecars"
    return unavailable(f"{what}: {named} (check that they use this SIDECAR_KEYS_DIR; their logs give the read error)")
