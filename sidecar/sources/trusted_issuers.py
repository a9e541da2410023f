"""Parser of SIDECAR_TRUSTED_ISSUERS, the TOML file of external OpenID providers and their trust rules (R10).

    [[issuer]]
    issuer = "https://login.example.com/"        # exactly the iss of the tokens
    audience = "dashboard"                       # required in their aud
    jwks_url = "https://login.example.com/keys"  # or jwks_file = "keys.json", beside this file
    algorithms = ["RS256"]
    accounts = ["Acme"]                          # names or ids of accounts with users of this issuer
    audience_claim = "aud"                       # the default; "client_id" for access tokens of Cognito
    email_claim = "email"                        # the default; another claim requires "vouched"
    email_verified = "claim"                     # the default; "claim-or-text", "vouched" with email_domains
    amr = { otp = "totp", hwk = "passkey" }      # proofs that values of amr stand for; without it, none
    acr = { "urn:example:mfa" = "second-factor" }

Entries that would let another party act as the issuer are rejected: the sidecar's own name, HS* and none, an issuer of
many tenants, keys by plain HTTP (``loopback_http = true`` allows loopback only, for tests). ``issuer`` is compared with
iss and never fetched, so it may be any text. All problems are reported at once.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from sidecar.domain.hosts import is_loopback
from sidecar.domain.sessions import Method
from sidecar.sources.owner_writable_files import OwnerWritableFileError, read_guarded
from sidecar.tokens.external_tokens import EmailProof, IssuerTrust
from sidecar.tokens.jwk_set import KINDS

MAX_FILE: Final = 256 * 1024
MAX_ISSUERS: Final = 100
MAX_ACCOUNTS: Final = 100

MAX_DOMAINS: Final = 100
MAX_PROOFS: Final = 32

_MEMBERS: Final = frozenset(
    {
        "issuer", "audience", "jwks_url", "jwks_file", "algorithms", "accounts", "audience_claim", "email_claim",
        "email_verified", "email_domains", "loopback_http", "amr", "acr",
    }
)  # fmt: skip
_PROOFS: Final = tuple(method.value for method in Method if method is not Method.OUTSIDE)
"""Proofs for which an issuer can vouch; that of ``OUTSIDE`` every token has."""
_AUDIENCE_CLAIMS: Final = ("aud", "client_id")
_DOMAIN: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")
_SHARED_TENANTS: Final = frozenset({"common", "organizations", "consumers"})
"""Microsoft's names for all accounts of a kind: issuers of many tenants."""


class TrustedIssuersError(Exception):
    """Raised for an unusable file. ``problems``: one line each, with file, entry, problem and remedy."""

    def __init__(self, *problems: str) -> None:
        super().__init__(problems[0])
        self.problems = problems


class _InvalidEntryError(ValueError):
    """Raised for an invalid member of an entry."""


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """Entry of the file. ``keys`` is a URL or a file. ``accounts`` are names or ids, as written."""

    trust: IssuerTrust
    keys: str | Path
    accounts: tuple[str, ...]


def read_trusted_issuers(path: Path, *, own_issuer: str) -> tuple[TrustedIssuer, ...]:
    """Return every entry of the file. ``own_issuer``: SIDECAR_ISSUER. Raises TrustedIssuersError."""
    try:
        document = tomllib.loads(read_guarded(path, limit=MAX_FILE).decode("utf-8-sig"))
    except OwnerWritableFileError as problem:
        raise TrustedIssuersError(str(problem)) from None
    except UnicodeDecodeError:
        raise TrustedIssuersError(f"{path}: is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise TrustedIssuersError(f"{path}: is not TOML: {error}") from None
    entries = document.get("issuer")
    if (
        set(document) != {"issuer"}
        or not isinstance(entries, list)
        or not all(isinstance(one, dict) for one in entries)
    ):
        raise TrustedIssuersError(f"{path}: must contain [[issuer]] tables and nothing else")
    if not 0 < len(entries) <= MAX_ISSUERS:
        raise TrustedIssuersError(f"{path}: has {len(entries)} issuers: allowed are 1 to {MAX_ISSUERS}")
    found, problems = [], []
    for number, entry in enumerate(entries, 1):
        place = f"{path}: issuer {number}"
        problems += [
            f"{place}: {name}: unknown member: choose from {', '.join(sorted(_MEMBERS))}"
            for name in set(entry) - _MEMBERS
        ]
        try:
            found.append(_entry(entry, path.parent, own_issuer))
        except _InvalidEntryError as wrong:
            problems.append(f"{place}: {wrong}")
    problems += _twice(path, found)
    if problems:
        raise TrustedIssuersError(*sorted(problems))
    return tuple(found)


def _entry(entry: dict[str, Any], folder: Path, own_issuer: str) -> TrustedIssuer:
    loopback = entry.get("loopback_http", False)
    if not isinstance(loopback, bool):
        raise _InvalidEntryError("loopback_http: must be true or false")
    proof = EmailProof(_one_of(entry, "email_verified", tuple(proof.value for proof in EmailProof)))
    trust = IssuerTrust(
        _issuer(entry, own_issuer),
        _word(entry, "audience"),
        _algorithms(entry),
        email_claim=_word({"email_claim": "email", **entry}, "email_claim"),
        audience_claim=_one_of(entry, "audience_claim", _AUDIENCE_CLAIMS),
        email_verified=proof,
        email_domains=_email_domains(entry, proof),
        amr=_proofs(entry, "amr"),
        acr=_proofs(entry, "acr"),
    )
    return TrustedIssuer(trust, _keys(entry, folder, loopback_http=loopback), _accounts(entry))


def _one_of(entry: dict[str, Any], name: str, choices: tuple[str, ...]) -> str:
    """Return the member, or the first of ``choices`` if it is missing."""
    value = entry.get(name, choices[0])
    if value not in choices:
        raise _InvalidEntryError(f"{name}: {value!r} is invalid: choose from {', '.join(choices)}")
    return str(value)


def _email_domains(entry: dict[str, Any], proof: EmailProof) -> frozenset[str]:
    if proof is not EmailProof.VOUCHED:
        if "email_domains" in entry:
            raise _InvalidEntryError(
                'email_domains: has no effect without email_verified = "vouched": set that, or remove it'
            )
        return frozenset()
    if "email_domains" not in entry:
        raise _InvalidEntryError(
            'email_verified: "vouched" needs email_domains, the domains whose every address at this issuer is its '
            'owner\'s: email_domains = ["acme.example"]'
        )
    domains = [one.lower() for one in _words(entry, "email_domains", MAX_DOMAINS)]
    for domain in domains:
        if not _DOMAIN.fullmatch(domain):
            raise _InvalidEntryError(
                f"email_domains: {domain!r} is not a domain in ASCII, as in acme.example or xn--bcher-kva.example"
            )
    return frozenset(domains)


def _proofs(entry: dict[str, Any], name: str) -> dict[str, Method]:
    """Return the proofs by value of the claim ``name``. Without the member, the claim proves nothing."""
    table = entry.get(name)
    if name not in entry:
        return {}
    if not isinstance(table, dict) or not 0 < len(table) <= MAX_PROOFS:
        raise _InvalidEntryError(f"{name}: must be a table of 1 to {MAX_PROOFS} values and their proofs")
    found = {}
    for value, proof in table.items():
        if proof not in _PROOFS:
            raise _InvalidEntryError(f"{name}: {proof!r} is no proof: choose from {', '.join(_PROOFS)}")
        found[_text(name, value)] = Method(proof)
    return found


def _issuer(entry: dict[str, Any], own_issuer: str) -> str:
    issuer = _word(entry, "issuer")
    if issuer.rstrip("/").lower() == own_issuer.rstrip("/").lower():
        raise _InvalidEntryError("issuer: is this sidecar's own (SIDECAR_ISSUER): name another provider")
    if re.search(r"[{}<>*$]", issuer) or _is_shared(issuer):
        raise _InvalidEntryError("issuer: matches many issuers: write the exact iss of your own tenant's tokens")
    return issuer


def _is_shared(issuer: str) -> bool:
    match = re.match(r"https://login\.microsoftonline\.[a-z.]+/([^/]*)", issuer, re.IGNORECASE)
    return match is not None and match[1].lower() in _SHARED_TENANTS


def _algorithms(entry: dict[str, Any]) -> frozenset[str]:
    named = _words(entry, "algorithms", len(KINDS))
    for name in named:
        if name not in KINDS:
            secret = name.upper().startswith("HS") or name.lower() == "none"
            why = "does not identify the signer" if secret else "is not supported"
            raise _InvalidEntryError(f"algorithms: {name} {why}: choose from {', '.join(KINDS)}")
    return frozenset(named)


def _keys(entry: dict[str, Any], folder: Path, *, loopback_http: bool) -> str | Path:
    if ("jwks_url" in entry) == ("jwks_file" in entry):
        raise _InvalidEntryError("jwks_url, jwks_file: give one of the two")
    if "jwks_file" in entry:
        return folder / _word(entry, "jwks_file")
    url = _word(entry, "jwks_url")
    _check_url(url, loopback_http=loopback_http)
    return url


def _check_url(url: str, *, loopback_http: bool) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise _InvalidEntryError("jwks_url: is not a URL") from None
    if not host or parts.username is not None or parts.fragment:
        raise _InvalidEntryError("jwks_url: must be https://HOST/…, without user or fragment")
    if parts.scheme == "https":
        return
    if parts.scheme != "http" or not loopback_http or not is_loopback(host):
        raise _InvalidEntryError(
            "jwks_url: must begin with https:// (plain HTTP: to this machine alone, with loopback_http = true)"
        )


def _accounts(entry: dict[str, Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_words(entry, "accounts", MAX_ACCOUNTS)))


def _words(entry: dict[str, Any], name: str, most: int) -> list[str]:
    listed = entry.get(name)
    if not isinstance(listed, list) or not 0 < len(listed) <= most:
        raise _InvalidEntryError(f"{name}: must be a list of 1 to {most} texts")
    return [_text(name, one) for one in listed]


def _word(entry: dict[str, Any], name: str) -> str:
    if name not in entry:
        raise _InvalidEntryError(f"{name}: is missing")
    return _text(name, entry[name])


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > 512 or not value.isprintable():
        raise _InvalidEntryError(f"{name}: must be a text of 1 to 512 characters")
    return value


def _twice(path: Path, found: list[TrustedIssuer]) -> Iterator[str]:
    seen: set[str] = set()
    for entry in found:
        if entry.trust.issuer in seen:
            yield f"{path}: {entry.trust.issuer}: occurs twice: write one entry per issuer"
        seen.add(entry.trust.issuer)
