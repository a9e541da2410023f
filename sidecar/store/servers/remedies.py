"""Remedies for errors of a misconfigured store, by error text: one clause for the operator.

Pure. A text without a matching row has no remedy.
"""

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Remedy:
    """Remedy clause. ``misconfigured``: no retry helps; the settings name another kind of server or database.

    ``problem``: what is wrong, without the library's words.
    """

    text: str = ""
    misconfigured: bool = False
    problem: str = ""

    @property
    def suffix(self) -> str:
        """Return the end of an error message; empty without a remedy."""
        return f": {self.text}" if self.text else ""


NO_REDIS: Final = "another program answers there: correct host and port in SIDECAR_REDIS_URL"
_LOGIN: Final = "correct user and password in SIDECAR_REDIS_URL, or SIDECAR_REDIS_SENTINEL_PASSWORD"

_OTHER_HOST: Final = "the certificate is for another host: name that host, or ssl_check_hostname=false"
_CLIENT_CERTIFICATE: Final = "name a client certificate with ?ssl_certfile= and ssl_keyfile="
_CLOSED: Final = "if the server requires TLS, write rediss://, and name a client certificate if required"

_ANY: Final = "see the server's log, and check host and port in SIDECAR_REDIS_URL"

_REPLIES: Final = (
    (r"DB index is out of range|SELECT index", "choose a database that the server has, as in /0", True),
    (r"SELECT is not allowed in cluster mode", "it is a Redis Cluster: write redis+cluster://HOST:PORT", True),
    (r"cluster support disabled", "it is not a Redis Cluster: write redis://HOST:PORT/0", True),
    (r"unknown command ['`]?SENTINEL", "it is not a Sentinel: write redis://HOST:PORT/0, or the Sentinels' port", True),
    (r"WRONGPASS|invalid username-password|NOAUTH|Authentication required|AUTH .*called without", _LOGIN, False),
    (r"NOPERM|no permissions|can't run this command", "grant the rights that README lists for the store's user", False),
    (r"unknown command ['`]?EVAL", "it runs no scripts: use Redis 6.2 or newer, without a proxy", False),
    (r"unknown command ['`]?X(?:ADD|READ|REV|RANGE|TRIM|LEN)", "it has no streams: use Redis 6.2 or newer", False),
    (r"unknown (?:sub)?command", "use Redis 6.2 or newer, without a proxy that hides commands", False),
    (r"NOREPLICAS", "restore the master's replicas (min-replicas-to-write)", False),
    (r"READONLY", "it is a replica: name the master, or redis+sentinel://", False),
    (r"OOM", "raise maxmemory", False),
    (r"MISCONF", "free the disk of the server", False),
    (r"CLUSTERDOWN", "see `redis-cli --cluster check`", False),
)

_SILENCES: Final = (
    (r"CERTIFICATE_VERIFY_FAILED.*(?:mismatch|not valid for|doesn't match)", "TLS failed", _OTHER_HOST),
    (
        r"CERTIFICATE_VERIFY_FAILED",
        "its certificate is not trusted",
        "name the CA's file with ?ssl_ca_certs=/PATH",
    ),
    (r"CERTIFICATE_REQUIRED|certificate required|HANDSHAKE_FAILURE", "TLS failed", _CLIENT_CERTIFICATE),
    (
        r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|\[SSL[:\]]|SSL: ",
        "TLS failed",
        "the port has no TLS: write redis://, or the TLS port",
    ),
    (r"InvalidResponse.*(?:x15|\\x15)", "it does not speak Redis' protocol", "the port requires TLS: write rediss://"),
    (r"InvalidResponse|Protocol Error", "it does not speak Redis' protocol", NO_REDIS),
    (
        r"the Sentinels have no master of the name '[^']*'",
        "",
        "correct the master's name after the Sentinels in SIDECAR_REDIS_URL",
    ),
    (
        r"No such file|Errno 2\b",
        "there is no such socket",
        "start the server, or correct SIDECAR_REDIS_URL",
    ),
    (
        r"Connection refused|Connect call failed|Errno 111",
        "connection refused",
        "start the server, or correct SIDECAR_REDIS_URL",
    ),
    (
        r"Name or service not known|getaddrinfo|nodename nor servname|failure in name",
        "its host's name has no address",
        "correct the host's name",
    ),
    (
        r"Connection closed by server|Connection lost|Connection reset|reset by peer|IncompleteRead|Broken pipe",
        "it closed the connection",
        _CLOSED,
    ),
    (r"Too many connections|MaxConnections", "too many connections of this sidecar", "wait, or add sidecars"),
    (r"Timeout|timed out", "no reply in time", "check host, port, firewall and TLS (rediss:// or redis://)"),
)
"""Pattern of the exception's name and message, problem, remedy. An empty problem is the text that matches."""

_PLACE: Final = re.compile(r"connecting to (?:unix socket: )?([^\s]*[:/][^\s]*[^\s.:])")
"""Address in redis-py's messages of failed connections: of several servers, it names the one."""


def remedy_of_reply(text: str) -> Remedy:
    """Return the remedy for an error reply."""
    found = next((row for row in _REPLIES if re.search(row[0], text, re.IGNORECASE)), None)
    return Remedy(found[1], found[2]) if found else Remedy()


def remedy_of_silence(text: str) -> Remedy:
    """Return the remedy for a connection without a Redis reply. ``text``: name and message of the exception."""
    place = _PLACE.search(text)
    where = f" ({place[1]})" if place else ""
    for pattern, problem, remedy in _SILENCES:
        if found := re.search(pattern, text, re.IGNORECASE | re.DOTALL):
            return Remedy(remedy, problem=(problem or found[0]) + where)
    return Remedy(_ANY, problem=f"the connection failed{where}")
