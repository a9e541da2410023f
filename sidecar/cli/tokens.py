"""``sidecar token inspect``: what a token on standard input says, and whether the keys of this sidecar believe it."""

import base64
import json
import time
from datetime import UTC, datetime
from typing import Any

import click

from sidecar.cli.options import settings_from, settings_options
from sidecar.cli.output import NO, OK, json_option, no, say_json, say_pairs, wrong
from sidecar.cli.passwords import read_secret
from sidecar.serve.settings import Settings
from sidecar.sources.key_files import KeyFileProblem, load
from sidecar.tokens.claims import Claims
from sidecar.tokens.verify import Verifier
from sidecar.vocabulary.decision import Reason

KINDS = {"rt_": "a refresh token", "inv_": "an invitation", "rst_": "a password reset", "pep_": "a PEP key"}
TIMES = ("exp", "iat", "nbf")


@click.group()
def token() -> None:
    """Look into a token."""


@token.command()
@settings_options(["keys_dir", "state_dir", "public_url", "issuer", "audience", "access_ttl", "leeway"])
@json_option
def inspect(as_json: bool, **flags: str | None) -> int:
    """Show what the access token on standard input says, and whether the keys here believe it.

    Exit status 0 when they do, 1 when they do not. Whether its user and session still live, only the store knows:
    ask the sidecar's /check.
    """
    settings = settings_from(flags)
    text = read_secret("token").strip()
    for prefix, kind in KINDS.items():
        if text.startswith(prefix):
            raise no(f"this is {kind}: a secret for one use, with nothing to read in it")
    header, claims = _read(text)
    reason = _believed(settings, text)
    if as_json:
        say_json({"valid": reason is None, "reason": reason, "header": header, "claims": claims})
    else:
        shown = {name: _shown(name, value) for name, value in {**header, **claims}.items()}
        say_pairs({"verdict": reason or "valid", **shown})
    return OK if reason is None else NO


def _read(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims as they stand, believed or not. The signature is never shown."""
    parts = text.split(".")
    if len(parts) != 3:
        raise no("this is no JWT: it has not three parts")
    try:
        header, claims = (json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2])
    except (ValueError, RecursionError):
        raise no("this is no JWT: its parts are not JSON in base64url") from None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise no("this is no JWT: its parts are not JSON objects")
    return header, claims


def _believed(settings: Settings, text: str) -> Reason | None:
    """Why the keys here do not believe it; None when they do."""
    try:
        keys = load(settings.keys_dir).keys
    except KeyFileProblem as problem:
        raise wrong(str(problem)) from None
    verifier = Verifier(keys, settings.issuer, settings.audience, settings.access_ttl, settings.leeway)
    verdict = verifier.verify(text, now=int(time.time()))
    return None if isinstance(verdict, Claims) else verdict


def _shown(name: str, value: object) -> object:
    if name in TIMES and isinstance(value, int) and 0 <= value < 2**34:
        return f"{value} ({datetime.fromtimestamp(value, UTC).isoformat()})"
    return value if isinstance(value, str) else json.dumps(value)
