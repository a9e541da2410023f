"""SIDECAR_TRUSTED_ISSUERS: the TOML file that names outside OpenID providers, and what is believed of each (R10).

    [[issuer]]
    issuer = "https://login.example.com/"        # exactly as in the tokens' iss
    audience = "dashboard"                       # what their aud has to hold
    jwks_url = "https://login.example.com/keys"  # or jwks_file = "keys.json", beside this file
    algorithms = ["RS256"]
    email_claim = "email"                        # the default
    accounts = ["Acme"]                          # names or ids: whose users may come this way

Refuses whatever would make somebody else an issuer: our own name, HS* and none, an issuer that stands for many, plain
HTTP. ``loopback_http = true`` allows that toward this machine alone, for tests. All problems are told at once.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from sidecar.sources.guarded_files import GuardedFileProblem, read_guarded
from sidecar.tokens.jwk_set import KINDS
from sidecar.tokens.outside import Trust

MAX_FILE: Final = 256 * 1024
MAX_ISSUERS: Final = 100
MAX_ACCOUNTS: Final = 100

_MEMBERS: Final = frozenset(
    {"issuer", "audience", "jwks_url", "jwks_file", "algorithms", "email_claim", "accounts", "loopback_http"}
)
_SHARED_TENANTS: Final = frozenset({"common", "organizations", "consumers"})
"""Microsoft's names for "whoever has an account with us": issuers that stand for many."""


class TrustedIssuersProblem(Exception):
    """The file cannot be used. ``problems``: one line each, with the file, the entry, what is wrong and the fix."""

    def __init__(self, *problems: str) -> None:
        super().__init__(problems[0])
        self.problems = problems


class _Wrong(ValueError):
    """What is wrong with one member of an entry."""


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """One entry. Its keys are at ``keys``, a URL or a file. ``accounts`` as written: names or ids."""

    trust: Trust
    keys: str | Path
    accounts: tuple[str, ...]


def read_trusted_issuers(path: Path, *, own_issuer: str) -> tuple[TrustedIssuer, ...]:
    """Every entry of the file. ``own_issuer``: SIDECAR_ISSUER. Raises TrustedIssuersProblem."""
    try:
        document = tomllib.loads(read_guarded(path, limit=MAX_FILE).decode("utf-8"))
    except GuardedFileProblem as problem:
        raise TrustedIssuersProblem(str(problem)) from None
    except UnicodeDecodeError:
        raise TrustedIssuersProblem(f"{path}: is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise TrustedIssuersProblem(f"{path}: is not TOML: {error}") from None
    entries = document.get("issuer")
    if (
        set(document) != {"issuer"}
        or not isinstance(entries, list)
        or not all(isinstance(one, dict) for one in entries)
    ):
        raise TrustedIssuersProblem(f"{path}: must hold [[issuer]] tables and nothing else")
    if not 0 < len(entries) <= MAX_ISSUERS:
        raise TrustedIssuersProblem(f"{path}: holds {len(entries)} issuers: 1 to {MAX_ISSUERS} are possible")
    found, problems = [], []
    for number, entry in enumerate(entries, 1):
        place = f"{path}: issuer {number}"
        problems += [
            f"{place}: {name}: no such member: {', '.join(sorted(_MEMBERS))}" for name in set(entry) - _MEMBERS
        ]
        try:
            found.append(_entry(entry, path.parent, own_issuer))
        except _Wrong as wrong:
            problems.append(f"{place}: {wrong}")
    problems += _twice(path, found)
    if problems:
        raise TrustedIssuersProblem(*sorted(problems))
    return tuple(found)


def _entry(entry: dict[str, Any], folder: Path, own_issuer: str) -> TrustedIssuer:
    loopback = entry.get("loopback_http", False)
    if not isinstance(loopback, bool):
        raise _Wrong("loopback_http: must be true or false")
    issuer = _issuer(entry, own_issuer, loopback_http=loopback)
    trust = Trust(
        issuer, _word(entry, "audience"), _algorithms(entry), _word({"email_claim": "email", **entry}, "email_claim")
    )
    return TrustedIssuer(trust, _keys(entry, folder, loopback_http=loopback), _accounts(entry))


def _issuer(entry: dict[str, Any], own_issuer: str, *, loopback_http: bool) -> str:
    issuer = _word(entry, "issuer")
    if issuer.rstrip("/").lower() == own_issuer.rstrip("/").lower():
        raise _Wrong("issuer: is this sidecar's own (SIDECAR_ISSUER): nobody else may speak for it")
    if re.search(r"[{}<>*$]", issuer) or _is_shared(issuer):
        raise _Wrong("issuer: stands for many issuers: write the exact iss of your own tenant's tokens")
    _check_url("issuer", issuer, loopback_http=loopback_http)
    return issuer


def _is_shared(issuer: str) -> bool:
    match = re.match(r"https://login\.microsoftonline\.[a-z.]+/([^/]*)", issuer, re.IGNORECASE)
    return match is not None and match[1].lower() in _SHARED_TENANTS


def _algorithms(entry: dict[str, Any]) -> frozenset[str]:
    named = _words(entry, "algorithms", len(KINDS))
    for name in named:
        if name not in KINDS:
            secret = name.upper().startswith("HS") or name.lower() == "none"
            why = "proves nothing about who signed" if secret else "is not one that can be allowed"
            raise _Wrong(f"algorithms: {name} {why}: choose of {', '.join(KINDS)}")
    return frozenset(named)


def _keys(entry: dict[str, Any], folder: Path, *, loopback_http: bool) -> str | Path:
    if ("jwks_url" in entry) == ("jwks_file" in entry):
        raise _Wrong("jwks_url, jwks_file: give one of the two")
    if "jwks_file" in entry:
        return folder / _word(entry, "jwks_file")
    url = _word(entry, "jwks_url")
    _check_url("jwks_url", url, loopback_http=loopback_http)
    return url


def _check_url(name: str, url: str, *, loopback_http: bool) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise _Wrong(f"{name}: is not a URL") from None
    if not host or parts.username is not None or parts.fragment or (name == "issuer" and parts.query):
        raise _Wrong(f"{name}: must be https://HOST/…, without user, query or fragment")
    if parts.scheme == "https":
        return
    if parts.scheme != "http" or not loopback_http or not _is_loopback(host):
        raise _Wrong(f"{name}: must begin with https:// (plain HTTP: to this machine alone, with loopback_http = true)")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _accounts(entry: dict[str, Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_words(entry, "accounts", MAX_ACCOUNTS)))


def _words(entry: dict[str, Any], name: str, most: int) -> list[str]:
    listed = entry.get(name)
    if not isinstance(listed, list) or not 0 < len(listed) <= most:
        raise _Wrong(f"{name}: must be a list of 1 to {most} texts")
    return [_text(name, one) for one in listed]


def _word(entry: dict[str, Any], name: str) -> str:
    if name not in entry:
        raise _Wrong(f"{name}: is missing")
    return _text(name, entry[name])


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > 512 or not value.isprintable():
        raise _Wrong(f"{name}: must be a text of 1 to 512 characters")
    return value


def _twice(path: Path, found: list[TrustedIssuer]) -> Iterator[str]:
    seen: set[str] = set()
    for entry in found:
        if entry.trust.issuer in seen:
            yield f"{path}: {entry.trust.issuer}: stands twice: one entry an issuer"
        seen.add(entry.trust.issuer)
