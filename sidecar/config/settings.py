"""Table of settings, and their resolution: flag > environment > file > default.

Every value has its source. An invalid value raises ``SettingsError`` (sources.py). Settings that are valid alone but
unsafe together are problems (problems.py). Lower packages receive values, never ``Settings``.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from sidecar.config import fd_limits
from sidecar.config import parsers as v
from sidecar.config.audit_sink import AuditSink, audit_sink, authorization
from sidecar.config.shares import share
from sidecar.config.sources import RawValues, SettingNames, SettingsError, gather, mask
from sidecar.config.urls import base_url, login_url, store_url, url
from sidecar.http.login_page import SIGN_IN
from sidecar.sources.policy_files import packaged
from sidecar.sources.policy_location import model, policy_dir

__all__ = ["ROWS", "Row", "Settings", "SettingsError", "Value", "load"]

DAY = 86400
EXPLICIT = "explicit"
"""Key of the names of the settings that are not at their default, beside the values of the rows above."""


@dataclass(frozen=True, slots=True)
class Row:
    """Specification of one setting. ``default``: text as a user writes it, or a function of rows above and EXPLICIT."""

    parse: Callable[[str], Any]
    default: str | Callable[[Mapping[str, Any]], Any]
    about: str
    secret: bool = False


def _public_url(found: Mapping[str, Any]) -> str:
    if isinstance(found["listen"], v.UnixAddress):
        return "http://localhost"
    return f"{'https' if found['tls_cert'] else 'http'}://{found['listen']}"


def _issuer(found: Mapping[str, Any]) -> str:
    return str(found["public_url"])


def _keys_dir(found: Mapping[str, Any]) -> Path:
    return Path(found["state_dir"]) / "keys"


def _login_url(found: Mapping[str, Any]) -> str | None:
    """Return the console's page if browsers reach it: the public URL is a setting, not derived from the listener."""
    return f"{found['public_url']}{SIGN_IN}" if found["console"] and "public_url" in found[EXPLICIT] else None


def _max_connections(found: Mapping[str, Any]) -> int:
    return fd_limits.connections(found["workers"])


_FILE = v.optional(v.path)
_AWAY = v.optional(v.address)
_REDIS = v.optional(store_url)
_SMTP = v.optional(url("smtp", "smtps", "smtp+starttls"))


@dataclass(frozen=True, slots=True)
class Value:
    """Resolved setting. ``text`` may be shown: a secret is masked in it."""

    name: str
    text: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """THE table. Each field is a setting: ``lease`` is ``SIDECAR_LEASE``, ``--lease``, and ``lease`` in the file."""

    listen: Annotated[v.Address, Row(v.address, "127.0.0.1:9181", "Public listener: checks, tokens, API, console.")]
    ops_listen: Annotated[v.Address, Row(v.address, "127.0.0.1:9182", "Ops listener: /livez /readyz /metrics /status.")]
    check_listen: Annotated[v.Address | None, Row(_AWAY, "", "Checks only; the public listener then has none.")]
    grpc_listen: Annotated[v.Address | None, Row(_AWAY, "", "Envoy's gRPC ext_authz.")]
    tls_cert: Annotated[Path | None, Row(_FILE, "", "PEM certificate chain of the public, check and gRPC listeners.")]
    tls_key: Annotated[Path | None, Row(_FILE, "", "PEM private key of the certificate.")]
    tls_client_ca: Annotated[Path | None, Row(_FILE, "", "PEM CA certificates; clients must present one they signed.")]
    plaintext: Annotated[bool, Row(v.boolean, "false", "Serve without TLS beyond loopback.")]
    public_url: Annotated[str, Row(base_url, _public_url, "Base URL of the public listener: links, cookies, Origin.")]
    issuer: Annotated[
        str,
        Row(url("http", "https"), _issuer, "The tokens' iss; stored permanently."),
    ]
    audience: Annotated[str, Row(v.word, "dashboard", "The tokens' aud; stored permanently.")]
    redis_url: Annotated[
        str | None, Row(_REDIS, "", "The store; empty: an embedded one in the state directory.", secret=True)
    ]
    redis_sentinel_password: Annotated[
        str | None, Row(v.optional(v.line), "", "The Sentinels' own password.", secret=True)
    ]
    redis_lone_master: Annotated[
        bool,
        Row(
            v.boolean,
            "false",
            "Accept a Sentinel's or Cluster's master without replicas; a fail-over can lose revocations.",
        ),
    ]
    embedded: Annotated[bool, Row(v.boolean, "false", "Allow the embedded store beyond loopback.")]
    state_dir: Annotated[
        Path, Row(v.path, ".sidecar", "The embedded store, the last good policy, the audit's checkpoints.")
    ]
    keys_dir: Annotated[
        Path,
        Row(v.path, _keys_dir, "Signing keys and the pepper, created at the first start."),
    ]
    keys_group_read: Annotated[bool, Row(v.boolean, "false", "On a read-only mount accept keys that a group may read.")]
    policy_dir: Annotated[Path, Row(v.path, policy_dir, "The policy files: ./policy, or the packaged ones without it.")]
    policy_source: Annotated[
        v.PolicySource, Row(v.one_of(v.PolicySource), "files", "Source of the active policy: files, or store.")
    ]
    policy_keys: Annotated[Path | None, Row(_FILE, "", "Public keys, one of which must have signed the policy.")]
    model: Annotated[Path, Row(v.path, model, "The Casbin model: ./model.conf, or the packaged one.")]
    access_ttl: Annotated[int, Row(v.whole_seconds(1, DAY), "15m", "Life of an access token.")]
    refresh_ttl: Annotated[int, Row(v.whole_seconds(1, 90 * DAY), "30d", "Life of an unused refresh token.")]
    invite_ttl: Annotated[int, Row(v.whole_seconds(1, 90 * DAY), "7d", "Life of an invitation and of its seat.")]
    leeway: Annotated[int, Row(v.whole_seconds(0, 60), "5s", "Allowed clock difference for a token's exp and nbf.")]
    lease: Annotated[float, Row(v.duration(0.1, 30), "1s", "Maximum age of a cached record without a store message.")]
    workers: Annotated[int, Row(v.integer(1, 64), "1", "Number of worker processes.")]
    drain: Annotated[float, Row(v.duration(0, 300), "2s", "Time that listeners accept connections after SIGTERM.")]
    seat_contact: Annotated[str, Row(v.line, "", "Contact for more seats.")]
    trusted_proxies: Annotated[tuple[v.Network, ...], Row(v.networks, "", "Proxies whose X-Forwarded-For is read.")]
    allowed_hosts: Annotated[
        tuple[str, ...], Row(v.words, "", "Additional host names of API, console and ops, comma-separated.")
    ]
    trusted_issuers: Annotated[Path | None, Row(_FILE, "", "TOML file of external issuers.")]
    unavailable_status: Annotated[int, Row(v.status, "403", "Status of undetermined checks: 403 or 503.")]
    console: Annotated[bool, Row(v.boolean, "true", "Serve the console.")]
    login_url: Annotated[str | None, Row(v.optional(login_url), _login_url, "Sign-in page for browsers.")]
    fast_lane: Annotated[bool, Row(v.boolean, "true", "Process simple checks without aiohttp.")]
    smtp_url: Annotated[str | None, Row(_SMTP, "", "Mail server for links.", secret=True)]
    mail_from: Annotated[str | None, Row(v.optional(v.line), "", "Sender of mails.")]
    log_level: Annotated[v.LogLevel, Row(v.one_of(v.LogLevel), "info", "debug, info, warning, error.")]
    log_format: Annotated[
        v.LogFormat, Row(v.one_of(v.LogFormat), "auto", "json, text, or auto: text on a terminal, else json.")
    ]
    decision_log: Annotated[
        v.DecisionLogTarget, Row(v.decision_log, "stdout", "off, stdout or a file; ,allows=0.1 samples allows.")
    ]
    audit_sink: Annotated[AuditSink, Row(audit_sink, "file", "file, stdout, a path or https://…: the audit's export.")]
    audit_sink_auth: Annotated[
        str | None, Row(v.optional(authorization), "", "Authorization header for the audit's receiver.", secret=True)
    ]
    otel_sample: Annotated[
        float | None, Row(v.optional(share), "", "OpenTelemetry: share of untraced requests that begin a trace.")
    ]
    otel_paths: Annotated[bool, Row(v.boolean, "false", "Record the paths of traced requests.")]
    max_body: Annotated[int, Row(v.size(1024, 16 * 1024**2), "64KiB", "Largest request body.")]
    max_head: Annotated[int, Row(v.size(8192, 1024**2), "32KiB", "Largest request head.")]
    max_connections: Annotated[
        int, Row(v.integer(1, 10_000_000), _max_connections, "Maximum open connections per worker.")
    ]

    values: tuple[Value, ...] = ()
    """Every setting as text, secrets masked, with its source: the output of ``sidecar config``."""
    secret_files: Mapping[str, Path] = field(default_factory=dict)
    """Source files of secrets by setting, for values that are read again while serving."""
    warnings: tuple[str, ...] = ()
    """Notices about ignored input, one line each."""
    doubts: tuple[str, ...] = ()
    """Likely mistakes, one line each, for the log of `serve` and for `doctor`."""

    @property
    def without_policy(self) -> str:
        """Return a notice if the packaged policy is used because none is named and none is here.

        Else empty.
        """
        taken = packaged()[0]
        named = any(value.name == "policy_dir" and value.source != "default" for value in self.values)
        return "" if named or self.policy_dir != taken else f"no ./policy: using the packaged policy, {taken}"

    def __repr__(self) -> str:
        """Return the settings with masked secrets, because representations are logged."""
        return f"Settings({', '.join(f'{value.name}={value.text!r}' for value in self.values)})"


ROWS: dict[str, Row] = {
    name: hint.__metadata__[0]
    for name, hint in get_type_hints(Settings, include_extras=True).items()
    if hasattr(hint, "__metadata__")
}
NAMES = SettingNames(frozenset(ROWS), frozenset(name for name, it in ROWS.items() if it.secret))


def load(flags: Mapping[str, str | None], env: Mapping[str, str]) -> Settings:
    """Return the settings in force. Raises SettingsError.

    ``flags`` by setting name (and ``config``); None for a flag that was not given.
    """
    raw, ignored = gather(flags, env, NAMES)
    found: dict[str, Any] = {}
    shown: list[Value] = []
    for name, it in ROWS.items():
        found[name], value = _resolve(name, it, raw.get(name), {**found, EXPLICIT: frozenset(raw)})
        shown.append(value)
    files = {name: it.file for name, it in raw.items() if it.file is not None}
    settings = Settings(
        **found, values=tuple(shown), secret_files=files, warnings=ignored, doubts=tuple(_doubts(found))
    )
    lacking = settings.without_policy
    return replace(settings, doubts=(*settings.doubts, lacking)) if lacking else settings


def _resolve(name: str, it: Row, raw: RawValues | None, found: Mapping[str, Any]) -> tuple[Any, Value]:
    if raw is None:
        value = it.parse(it.default) if isinstance(it.default, str) else it.default(found)
        text = it.default if isinstance(it.default, str) else v.show(value)
        return value, Value(name, text, "default")
    try:
        value = it.parse(raw.text)
    except v.InvalidValueError as bad:
        raise raw.complaint(str(bad), secret=it.secret) from None
    return value, Value(name, mask(raw.text, name) if it.secret else v.show(value, raw.text), raw.source)


def _doubts(found: Mapping[str, Any]) -> Iterator[str]:
    if found["listen"].wildcard and found["public_url"] == _public_url(found):
        yield f"SIDECAR_PUBLIC_URL is {found['public_url']}: links with that address do not work: set it"
    available = fd_limits.available()
    if available is not None and found["max_connections"] > available:
        yield (
            f"SIDECAR_MAX_CONNECTIONS is {found['max_connections']}, but file descriptors allow {available}: "
            "more connections can exhaust those of the store and the ops listener: lower it or raise `ulimit -Hn`"
        )
    behind = found["public_url"] != _public_url(found) and found["tls_cert"] is None
    if behind and not found["trusted_proxies"]:
        yield (
            "SIDECAR_TRUSTED_PROXIES is empty: all clients of a gateway count as one address, and 100 wrong "
            "passwords from one client block sign-in for all: name the gateway's network"
        )
