"""``sidecar token inspect``: contents of a token from standard input, and the result of its verification."""

import asyncio
import base64
import json
from datetime import UTC, datetime
from typing import Any

import click

from sidecar.api.serializers import to_user
from sidecar.cli.options import STORE, settings_from, settings_options
from sidecar.cli.output import NO, OK, answer_no, json_option, print_error, print_json, print_pairs, usage_error
from sidecar.cli.secret_input import read_secret
from sidecar.config.settings import Settings
from sidecar.server.token_inspection import Inspection, inspect_token
from sidecar.sources.key_files import KeyFileError, load
from sidecar.sources.trusted_issuers import TrustedIssuersError
from sidecar.telemetry.app_log import silent
from sidecar.tokens.verify import Verifier

KINDS = {"rt_": "a refresh token", "inv_": "an invitation", "rst_": "a password reset", "pep_": "a PEP key"}
TIMES = ("exp", "iat", "nbf", "auth_time")


@click.group()
def token() -> None:
    """Inspect a token."""


@token.command()
@settings_options((*STORE, "access_ttl", "leeway", "trusted_issuers"))
@json_option
def inspect(as_json: bool, **flags: str | None) -> int:
    """Show the contents of the access token on standard input, and the result of its verification.

    The token of a trusted outside issuer is verified with that issuer's keys, fetched if they are at a URL. It is
    linked to no user. User and session are looked up if there is a store.

    Exit status 0 for a valid token, 1 for an invalid one.
    """
    settings = settings_from(flags)
    text = read_secret("token").strip()
    for prefix, kind in KINDS.items():
        if text.startswith(prefix):
            raise answer_no(f"this is {kind}: an opaque secret without readable contents")
    header, claims = _read(text)
    verdict = _inspect(settings, text)
    if verdict.key_problem:
        print_error(f"the keys of {verdict.issuer} cannot be used: {verdict.key_problem}")
    if as_json:
        print_json(
            {
                "valid": verdict.reason is None,
                "reason": verdict.reason,
                "why": verdict.why or None,
                "trusted_issuer": verdict.issuer,
                "user": None if verdict.user is None else to_user(verdict.user),
                "not_looked_up": verdict.store_skipped,
                "kid": header.get("kid"),
                "header": header,
                "claims": claims,
            }
        )
    else:
        shown = {name: _shown(name, value) for name, value in {**header, **claims}.items()}
        print_pairs({"verdict": verdict.reason or "valid", **_owner(verdict), **shown})
    return OK if verdict.reason is None else NO


def _owner(verdict: Inspection) -> dict[str, str]:
    pairs = {} if verdict.issuer is None else {"trusted issuer": verdict.issuer}
    if verdict.why:
        pairs["why"] = verdict.why
    if verdict.user is not None:
        pairs["user"] = f"{verdict.user.id} ({verdict.user.email}, {verdict.user.role})"
    elif verdict.store_skipped is not None:
        pairs["user"] = f"not looked up: {verdict.store_skipped}"
    return pairs


def _read(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Decode header and claims without verification. The signature is never shown."""
    parts = text.split(".")
    if len(parts) != 3:
        raise answer_no("not a JWT: it does not have three parts")
    try:
        header, claims = (json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2])
    except (ValueError, RecursionError):
        raise answer_no("not a JWT: its parts are not JSON in base64url") from None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise answer_no("not a JWT: its parts are not JSON objects")
    return header, claims


def _inspect(settings: Settings, text: str) -> Inspection:
    try:
        keys = load(settings.keys_dir, group_read=settings.keys_group_read).keys
        verifier = Verifier(keys, settings.issuer, settings.audience, settings.access_ttl, settings.leeway)
        with silent():
            return asyncio.run(inspect_token(settings, verifier, text))
    except (KeyFileError, TrustedIssuersError) as problem:
        raise usage_error(str(problem)) from None


def _shown(name: str, value: object) -> object:
    if name in TIMES and isinstance(value, int | float) and 0 <= value < 2**34:
        return f"{value} ({datetime.fromtimestamp(value, UTC).isoformat()})"
    return value if isinstance(value, str) else json.dumps(value)
