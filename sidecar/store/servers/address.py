"""Parser of the store's URL (SIDECAR_REDIS_URL). Pure: opens nothing, resolves nothing.

Does not use `urlsplit`, because some versions reject brackets in lists of hosts. Rejects input that redis-py would
guess at: a password whose ``/ # ? @`` are not percent-encoded, a database named twice, query names that it would ignore
or pass on. No message contains a part of the URL that may be a secret (R24).
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import unquote

Place = tuple[str, int]
"""Host and port of one server."""

SENTINEL_PORT: Final = 26379
REDIS_PORT: Final = 6379
SCHEMES: Final = (
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
)
"""Supported schemes. Those with + have several hosts, separated by commas."""
_TLS_NAMES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
_NAMES: Final = ("db", "username", "password", "sentinel_username", *_TLS_NAMES)
_ENCODE: Final = "percent-encode it (%2F for /, %23 for #, %3F for ?, %40 for @, %25 for %)"
_NOT_ENCODED: Final = f"a user, password, path or query holds / # ? @ or % that is not percent-encoded: {_ENCODE}"
_BOOLEANS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class StoreAddressError(ValueError):
    """Invalid URL. The message is one sentence with the remedy, without a part that may be a secret."""


class DeploymentKind(StrEnum):
    """Kind of deployment that the URL's scheme names."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Parts of a store's URL. ``places``: hosts and ports; empty for a Unix socket, which is ``path``.

    ``tls``: options of redis-py's ``SSLConnection``; None without TLS.
    """

    kind: DeploymentKind
    places: tuple[Place, ...] = ()
    path: str = ""
    master: str = ""
    database: int | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    tls: Mapping[str, str | bool] | None = None


def parse_address(text: str) -> StoreAddress:
    """Parse the URL. Raises StoreAddressError."""
    scheme, found, rest = text.partition("://")
    if not found or scheme not in SCHEMES or not text.isprintable() or " " in text:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise StoreAddressError(f"not a store URL: write a URL that starts with {known}")
    authority, tail = _split(rest)
    path, mark, query = tail.partition("?")
    if "#" in rest or "@" in tail:
        raise StoreAddressError(_NOT_ENCODED)
    userinfo, at, hosts = authority.rpartition("@")
    options = _options(query) if mark else {}
    username, password = _credentials(userinfo if at else "", options)
    kind = DeploymentKind(scheme.partition("+")[2] or "single")
    if scheme == "unix":
        return _unix(hosts, path, options, username, password)
    places = tuple(_places(hosts, SENTINEL_PORT if kind is DeploymentKind.SENTINEL else REDIS_PORT))
    if kind is DeploymentKind.SINGLE and len(places) > 1:
        raise StoreAddressError("several hosts: write redis+sentinel:// or redis+cluster://, or a single host")
    master, database = _path(kind, path)
    return StoreAddress(
        kind,
        places,
        master=master,
        database=_database(kind, database, options),
        username=username,
        password=password,
        sentinel_username=_sentinel_username(kind, options),
        tls=_tls(options, secured=scheme.startswith("rediss")),
    )


def masked(text: str) -> str:
    """Return the URL without its secrets (R24); of an invalid URL, the scheme alone."""
    scheme, found, rest = text.partition("://")
    if not found or scheme not in SCHEMES:
        return "…"
    try:
        parse_address(text)
    except StoreAddressError:
        return f"{scheme}://…"
    authority, tail = _split(rest)
    _, at, hosts = authority.rpartition("@")
    path, mark, _ = tail.partition("?")
    return f"{scheme}://{'…@' if at else ''}{hosts}{path}{'?…' if mark else ''}"


def _split(rest: str) -> tuple[str, str]:
    """Return the part with user, password and hosts, and the part with path and query."""
    end = min((at for mark in "/?#" if (at := rest.find(mark)) >= 0), default=len(rest))
    return rest[:end], rest[end:]


def _decoded(text: str) -> str:
    if "@" in text or re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise StoreAddressError(_NOT_ENCODED)
    return unquote(text, errors="replace")


def _options(query: str) -> dict[str, str]:
    """Return names and values of the query. Errors show an unknown name only when it is close to a known one."""
    found: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name not in _NAMES:
            raise _unknown(name, may_show="=" in part and "password" not in found)
        if name in found:
            raise StoreAddressError(f"{name} occurs twice in the query: remove one")
        if not value:
            raise StoreAddressError(f"{name} has no value in the query: write {name}=VALUE or remove it")
        if "+" in value and name == "password":
            raise StoreAddressError("password holds a + in the query: write %2B for +, %20 for a space")
        found[name] = _decoded(value)
    return found


def _unknown(name: str, *, may_show: bool) -> StoreAddressError:
    """Return the error for an unknown name. ``may_show``: the name is not the end of a password with & or ?."""
    may_show = may_show and re.fullmatch(r"[a-z_]{2,40}", name) is not None
    shown = f"{name} is" if may_show else "a name in the query is"
    if name.lower() in {"ssl", "tls"}:
        return StoreAddressError(f"{shown} not known: write rediss:// for TLS")
    near = difflib.get_close_matches(name.lower(), _NAMES, n=1, cutoff=0.7)
    if near:
        return StoreAddressError(f"{shown} not known: did you mean {near[0]}?")
    remedy = f"remove it; known are {', '.join(_NAMES)}"
    return StoreAddressError(
        f"{shown} not known: {remedy}" + ("" if may_show else f". If it is part of a password: {_ENCODE}")
    )


def _credentials(userinfo: str, options: Mapping[str, str]) -> tuple[str | None, str | None]:
    user, _, password = userinfo.partition(":")
    for name, there in (("username", user), ("password", password)):
        if there and name in options:
            raise StoreAddressError(f"{name} occurs before the host and in the query: remove one")
    found = _decoded(user) or options.get("username"), _decoded(password) or options.get("password")
    if found[0] and not found[1]:
        raise StoreAddressError("a user without a password: write USER:PASSWORD@HOST, or :PASSWORD@HOST")
    return found


def _unix(
    hosts: str, path: str, options: Mapping[str, str], username: str | None, password: str | None
) -> StoreAddress:
    if hosts:
        raise StoreAddressError("a Unix socket has no host: write unix:///run/redis.sock")
    if len(path) < 2:
        raise StoreAddressError("the URL names no absolute path: write unix:///run/redis.sock")
    _tls(options, secured=False)
    _sentinel_username(DeploymentKind.SINGLE, options)
    database = _database(DeploymentKind.SINGLE, "", options)
    return StoreAddress(
        DeploymentKind.SINGLE, path=_decoded(path), database=database, username=username, password=password
    )


def _places(hosts: str, port: int) -> Iterator[Place]:
    if not hosts:
        raise StoreAddressError("the URL names no host")
    for place in hosts.split(","):
        if not place:
            raise StoreAddressError("the URL's list of hosts has an empty place: write HOST:PORT between the commas")
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+(?:%[\w.]+)?\]|[^:\[\]%]+)(?::([0-9]{1,5}))?", place)
        if match is None or not 0 < int(match[2] or port) < 65536:
            raise StoreAddressError(
                "it has no host and port between // and /: write HOST:PORT, and [::1]:PORT for IPv6"
            )
        yield match[1].strip("[]"), int(match[2] or port)


def _path(kind: DeploymentKind, path: str) -> tuple[str, str]:
    """Return the master's name (only for Sentinel) and the database's text."""
    parts = path.removeprefix("/").split("/") if path else [""]
    if kind is DeploymentKind.CLUSTER:
        if parts not in ([""], ["0"]):
            raise StoreAddressError("a Redis Cluster has only database 0: write nothing after the hosts")
        return "", ""
    if kind is DeploymentKind.SENTINEL:
        if not parts[0]:
            raise StoreAddressError("it names no master: write redis+sentinel://HOST:26379/MASTER")
        if len(parts) > 2:
            raise StoreAddressError("the path has too many parts: write /MASTER or /MASTER/DATABASE")
        return _decoded(parts[0]), parts[1] if len(parts) == 2 else ""
    if len(parts) > 1:
        raise StoreAddressError(
            f"the path is not a database number: write /0. If the / is part of a password: {_ENCODE}"
        )
    return "", parts[0]


def _database(kind: DeploymentKind, path: str, options: Mapping[str, str]) -> int | None:
    if path and "db" in options:
        raise StoreAddressError("the database occurs in the path and in the query (db): remove one")
    if kind is DeploymentKind.CLUSTER and options.get("db", "0") != "0":
        raise StoreAddressError("a Redis Cluster has only database 0: remove db from the query")
    text = options.get("db", path)
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", text):
        where = "the query's db" if "db" in options else "the path"
        raise StoreAddressError(f"{where} is not a database number: write a whole number, as in /0")
    return int(text)


def _sentinel_username(kind: DeploymentKind, options: Mapping[str, str]) -> str | None:
    if "sentinel_username" in options and kind is not DeploymentKind.SENTINEL:
        raise StoreAddressError("sentinel_username is only for redis+sentinel://: remove it")
    return options.get("sentinel_username")


def _tls(options: Mapping[str, str], *, secured: bool) -> Mapping[str, str | bool] | None:
    found: dict[str, str | bool] = {name: options[name] for name in _TLS_NAMES if name in options}
    if not secured:
        if found:
            raise StoreAddressError(f"{next(iter(found))} requires TLS: write rediss://, or remove it")
        return None
    if found.get("ssl_cert_reqs", "required") not in {"required", "none"}:
        raise StoreAddressError("ssl_cert_reqs must be required or none")
    if "ssl_check_hostname" in found:
        checked = _BOOLEANS.get(str(found["ssl_check_hostname"]).lower())
        if checked is None:
            raise StoreAddressError("ssl_check_hostname must be true or false")
        found["ssl_check_hostname"] = checked
    if "ssl_keyfile" in found and "ssl_certfile" not in found:
        raise StoreAddressError("ssl_keyfile requires ssl_certfile: add it")
    return found
