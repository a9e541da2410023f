"""Parsers for setting values: addresses, durations, sizes, networks. (URLs: urls.py.)

Each parser raises ``InvalidValueError`` with problem and remedy, without the text: it can be a secret.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, TypeVar

from sidecar.domain.hosts import is_loopback


class InvalidValueError(ValueError):
    """Raised for a text that is not a value of this setting. The message ends with the remedy."""


Network = ipaddress.IPv4Network | ipaddress.IPv6Network | str
T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """TCP address. ``host`` is an IP address as Python writes it, or ``localhost``."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        return is_loopback(self.host)

    @property
    def wildcard(self) -> bool:
        return self.host != "localhost" and ipaddress.ip_address(self.host).is_unspecified

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """Unix socket. It counts as loopback, and the folder's mode protects it."""

    path: Path
    loopback: ClassVar[bool] = True
    wildcard: ClassVar[bool] = False

    def __str__(self) -> str:
        return f"unix:{self.path}"


Address = TcpAddress | UnixAddress


LogLevel = StrEnum("LogLevel", ["DEBUG", "INFO", "WARNING", "ERROR"])
PolicySource = StrEnum("PolicySource", ["FILES", "STORE"])


class LogFormat(StrEnum):
    """Format of the application log. AUTO is text on a terminal and JSON elsewhere."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class DecisionLogTarget:
    """Output of the decision log: a file, standard output (``path`` is None), or none.

    ``allows`` is the share of allows that is logged, 0 to 1. Every other decision is logged.
    """

    enabled: bool
    path: Path | None = None
    allows: float = 1.0

    def __str__(self) -> str:
        if not self.enabled:
            return "off"
        sink = "stdout" if self.path is None else str(self.path)
        return sink if self.allows == 1 else f"{sink},allows={self.allows:g}"


def address(text: str) -> Address:
    how = "write 127.0.0.1:9181, [::1]:9181 or unix:/path"
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise InvalidValueError("a Unix socket needs an absolute path: write unix:/run/sidecar/sidecar.sock")
        if len(path.encode()) > 100:
            raise InvalidValueError("a Unix socket's path may have 100 bytes at most: choose a shorter folder")
        return UnixAddress(Path(path))
    host, colon, port = text.rpartition(":")
    if not colon:
        raise InvalidValueError(f"no port: {how}")
    if not host:
        raise InvalidValueError(
            "no host: write 127.0.0.1:PORT for this machine alone, or 0.0.0.0:PORT for every interface"
        )
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise InvalidValueError(f"the port is not a number from 0 to 65535: {how}")
    if host == "localhost":
        return TcpAddress(host, int(port))
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        ip = ipaddress.ip_address(bare)
    except ValueError:
        raise InvalidValueError(f"the host is not an IP address or localhost: {how}") from None
    if (ip.version == 6) != (bare != host):
        raise InvalidValueError(f"square brackets belong around IPv6 addresses, and only there: {how}")
    return TcpAddress(str(ip), int(port))


_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(low: float, high: float) -> Callable[[str], float]:
    """Return a parser of durations in seconds, from ``1s``, ``500ms``, ``15m``, ``1h30m``, ``30d``."""

    def parse(text: str) -> float:
        parts = re.findall(r"([0-9]+)(ms|s|m|h|d)", text)
        if not parts or "".join(n + unit for n, unit in parts) != text or len(text) > 40:
            raise InvalidValueError(
                "not a duration: write a number and a unit (ms, s, m, h, d), as in 500ms, 1s, 15m or 30d"
            )
        seconds = sum(int(n) * _UNITS[unit] for n, unit in parts)
        if not low <= seconds <= high:
            raise InvalidValueError(f"must be from {show_duration(low)} to {show_duration(high)}")
        return seconds

    return parse


def whole_seconds(low: int, high: int) -> Callable[[str], int]:
    within = duration(low, high)

    def parse(text: str) -> int:
        seconds = within(text)
        if seconds != int(seconds):
            raise InvalidValueError("must be whole seconds, as in 15m or 90s")
        return int(seconds)

    return parse


def show_duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if seconds >= length and seconds % length == 0:
            return f"{int(seconds // length)}{unit}"
    return f"{round(seconds * 1000)}ms" if seconds else "0s"


_SIZES = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "KiB": 1024, "MiB": 1024**2}


def size(low: int, high: int) -> Callable[[str], int]:
    """Return a parser of bytes, from ``65536``, ``64KiB`` or ``1MiB``."""

    def parse(text: str) -> int:
        match = re.fullmatch(r"([0-9]{1,12}) ?(B|KB|MB|KiB|MiB)?", text)
        if match is None:
            raise InvalidValueError("not a size: write bytes or a unit (KiB, MiB), as in 65536, 64KiB or 1MiB")
        value = int(match[1]) * _SIZES[match[2] or ""]
        if not low <= value <= high:
            raise InvalidValueError(f"must be from {show_size(low)} to {show_size(high)}")
        return value

    return parse


def show_size(value: int) -> str:
    for unit in ("MiB", "KiB"):
        if value >= _SIZES[unit] and value % _SIZES[unit] == 0:
            return f"{value // _SIZES[unit]}{unit}"
    return str(value)


def boolean(text: str) -> bool:
    match text.lower():
        case "true" | "yes" | "on" | "1":
            return True
        case "false" | "no" | "off" | "0":
            return False
        case _:
            raise InvalidValueError("not a boolean: write true or false")


def integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise InvalidValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def one_of(kind: type[E]) -> Callable[[str], E]:
    def parse(text: str) -> E:
        try:
            return kind(text.lower())
        except ValueError:
            raise InvalidValueError(f"must be one of {', '.join(kind)}") from None

    return parse


def status(text: str) -> int:
    if text not in {"403", "503"}:
        raise InvalidValueError("must be 403 or 503")
    return int(text)


def word(text: str) -> str:
    if not text or len(text) > 512 or not text.isprintable() or " " in text:
        raise InvalidValueError("must be a word without spaces, of 512 characters at most")
    return text


def line(text: str) -> str:
    if not text.isprintable() or len(text) > 512:
        raise InvalidValueError("must be one line of 512 characters at most")
    return text


NO_NAMES = re.compile(
    r"[01-]|off|on|no|yes|none|null|nil|false|true|(dis|en)abled?|default|undefined|stdout|stderr|stdin", re.IGNORECASE
)
"""Words for a choice. As a path, they would create a file of that name in the working folder."""


def path(text: str) -> Path:
    """Parse a path of a file or folder. A name that looks like a choice needs its folder: ``./none``."""
    if not text.strip() or "\0" in text:
        raise InvalidValueError("must be a path")
    if NO_NAMES.fullmatch(text.strip(" \t\"'")):
        raise InvalidValueError("is a word, not a path: leave it unset or empty for the default, or write ./ before it")
    return Path(text)


def optional(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    """Return a parser that returns None for the empty text."""
    return lambda text: parse(text) if text else None


def words(text: str) -> tuple[str, ...]:
    """Parse words separated by commas."""
    return tuple(word(part.strip()) for part in text.split(",") if part.strip())


def networks(text: str) -> tuple[Network, ...]:
    """Parse addresses, networks and ``unix`` (every client of a Unix socket), separated by commas."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        return tuple(part if part == "unix" else ipaddress.ip_network(part) for part in parts)
    except ValueError:
        how = "write addresses and networks separated by commas, as in 10.0.0.0/8, 192.0.2.7 (no host bits set)"
        raise InvalidValueError(f"not a list of networks: {how}") from None


def decision_log(text: str) -> DecisionLogTarget:
    sink, comma, rest = text.partition(",allows=")
    if not sink:
        raise InvalidValueError("write off, stdout or a file, and ,allows=0.1 behind it to keep a tenth of the allows")
    if comma and (not re.fullmatch(r"[01]|0?\.[0-9]{1,6}|1\.0", rest) or sink == "off"):
        raise InvalidValueError("the share of allows must be from 0 to 1, as in stdout,allows=0.1")
    share = float(rest) if comma else 1.0
    if sink == "off":
        return DecisionLogTarget(enabled=False)
    return DecisionLogTarget(enabled=True, path=None if sink == "stdout" else _log_file(sink), allows=share)


def _log_file(text: str) -> Path:
    try:
        return path(text)
    except InvalidValueError:
        raise InvalidValueError("write off, stdout or a file (./none for a file of the name none)") from None


def show(value: object, text: str = "") -> str:
    """Return a value as ``sidecar config`` prints it: the original text, or the parsed value if it is clearer."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int():
            return text or str(value)
        case float() | tuple():
            return text
        case _:
            return str(value)
