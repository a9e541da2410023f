"""``sidecar token inspect``: what a token on standard input says, and whether the keys of this sidecar believe it, or
those of the trusted outside issuer that it names."""

import asyncio
import base64
import json
import time
from datetime import UTC, datetime
from typing import Any

import click

from sidecar.cli.options import settings_from, settings_options
from sidecar.cli.output import NO, OK, complain, json_option, no, say_json, say_pairs, wrong
from sidecar.cli.passwords import read_secret
from sidecar.serve.settings import Settings
from sidecar.sources.key_files import KeyFileProblem, load
from sidecar.sources.trusted_issuers import TrustedIssuersProblem
from sidecar.telemetry.logs import silent
from sidecar.tokens.claims import Claims
from sidecar.tokens.outside import OutsideClaims
from sidecar.tokens.verify import Verifier
from sidecar.vocabulary.decision import Reason

KINDS = {"rt_": "a refresh token", "inv_": "an invitation", "rst_": "a password reset", "pep_": "a PEP key"}
TIMES = ("exp", "iat", "nbf")


@click.group()
def token() -> None:
    """Look into a token."""


@token.command()
@settings_options(
    ["keys_dir", "state_dir", "public_url", "issuer", "audience", "access_ttl", "leeway", "trusted_issuers"]
)
@json_option
def inspect(as_json: bool, **flags: str | None) -> int:
    """Show what the access token on standard input says, and whether the keys here believe it.

    The token of a trusted outside issuer is judged by that issuer's keys, which are fetched when they stand at a URL.

    Exit status 0 when they do, 1 when they do not. Whether its user and session still live, only the store knows:
    ask the sidecar's /check.
    """
    settings = settings_from(flags)
    text = read_secret("token").strip()
    for prefix, kind in KINDS.items():
        if text.startswith(prefix):
            raise no(f"this is {kind}: a secret for one use, with nothing to read in it")
    header, claims = _read(text)
    issuer, reason = _by_outsiders(settings, text) or (None, _believed(settings, text))
    if as_json:
        said = {"valid": reason is None, "reason": reason, "trusted_issuer": issuer, "kid": header.get("kid")}
        say_json({**said, "header": header, "claims": claims})
    else:
        shown = {name: _shown(name, value) for name, value in {**header, **claims}.items()}
        by = {"trusted issuer": issuer} if issuer else {}
        say_pairs({"verdict": reason or "valid", **by, **shown})
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


def _by_outsiders(settings: Settings, text: str) -> tuple[str, Reason | None] | None:
    """The trusted issuer that the token names (None: none), and why its keys do not believe it (None: they do)."""

    async def judge() -> tuple[str, Reason | None] | None:
        trusted = TrustedIssuers(settings)
        try:
            outsider = trusted.tokens.claimed(text)
            if outsider is None:
                return None
            keys = trusted.tokens.parties[outsider.issuer].keys
            await keys.read_now()
            if keys.problem:
                complain(f"the keys of {outsider.issuer} cannot be used: {keys.problem}")
            verdict = await trusted.tokens.verify(outsider, now=int(time.time()))
            return outsider.issuer, None if isinstance(verdict, OutsideClaims) else verdict
        finally:
            await trusted.close()

    if settings.trusted_issuers is None:
        return None
    from sidecar.serve.issuers import TrustedIssuers

    try:
        with silent():
            return asyncio.run(judge())
    except TrustedIssuersProblem as problem:
        raise wrong(str(problem)) from None


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
