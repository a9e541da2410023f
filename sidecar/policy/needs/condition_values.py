"""Parsers for the values of conditions: durations, networks, days, times of day, time zones."""

import re
from ipaddress import IPv6Network, ip_network
from typing import Final

import msgspec

from sidecar.policy.diagnostics import suggestion

LABEL: Final = re.compile(r"[a-z0-9-]{1,40}")
"""Label of an account, and value of a label, as `sidecar account label` takes them."""
LABEL_FORM: Final = "1 to 40 of a-z, 0-9 and -"

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES: Final = 24 * 60


class ConditionValueError(ValueError):
    """Value of a condition that its parser rejects, with a remedy."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Hours(msgspec.Struct, frozen=True):
    """Times of the week: on each of ``days`` (0 is Monday) from ``start`` until before ``end``, in local minutes.

    If ``end`` is before ``start``, the time ends on the next day and belongs to the day of its start.
    """

    days: tuple[int, ...]
    start: int
    end: int
    zone: str


_UNITS: Final = {"s": 1, "m": 60, "h": 3600}
_DURATION: Final = re.compile(r"(0|[1-9][0-9]{0,6})([smh])")


def duration(text: str, least: int, most: int) -> int:
    """Return seconds of a text like ``90s``, ``15m`` or ``24h``."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ConditionValueError(f'"{text}" is not a duration', "write a whole number and s, m or h, like 15m")
    seconds = int(match[1]) * _UNITS[match[2]]
    if not least <= seconds <= most:
        lower = "0s" if not least else f"{least // 60}m"
        raise ConditionValueError(f'"{text}" is out of bounds', f"write {lower} to {most // 3600}h")
    return seconds


_CIDR: Final = re.compile(r"[0-9a-fA-F:.]{2,45}/[0-9]{1,3}")


def network(text: str) -> str:
    """Return the canonical text of a network in CIDR notation."""
    if _CIDR.fullmatch(text) is None:
        hint = f'write "{text}/{128 if ":" in text else 32}" for one address' if _is_address(text) else _CIDR_HINT
        raise ConditionValueError(f'"{text}" is not a network in CIDR notation', hint)
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        raise ConditionValueError(f'"{text}" is not a network in CIDR notation', _CIDR_HINT) from None
    if found.network_address != _address_of(text):
        raise ConditionValueError(f'"{text}" has bits set after its prefix', f'write "{found}"')
    if isinstance(found, IPv6Network) and found.network_address.ipv4_mapped is not None and found.prefixlen >= 96:
        plain = f"{found.network_address.ipv4_mapped}/{found.prefixlen - 96}"
        raise ConditionValueError(f'"{text}" is an IPv4 network in IPv6 notation', f'write "{plain}"')
    return str(found)


_CIDR_HINT: Final = 'write an address and a prefix length, like "192.0.2.0/24" or "2001:db8::/48"'


def _is_address(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return "/" not in text


def _address_of(text: str) -> object:
    return ip_network(text.partition("/")[0]).network_address


def days(text: str) -> tuple[int, ...]:
    """Return the numbers of the days in a text like ``mon-fri, sun`` or ``fri-mon``."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip(" ").partition("-")
        begin = _day(first.strip(" "))
        end = _day(last.strip(" ")) if dash else begin
        span = {(begin + step) % 7 for step in range((end - begin) % 7 + 1)}
        if span & found:
            raise ConditionValueError(f'"{text}" names {DAYS[min(span & found)]} twice', "name each day once")
        found |= span
    return tuple(sorted(found))


def _day(name: str) -> int:
    if name not in DAYS:
        raise ConditionValueError(f'"{name}" is not a day', suggestion(name, DAYS))
    return DAYS.index(name)


_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def time_of_day(text: str) -> int:
    """Return the minute of the day of a text like ``08:00``."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ConditionValueError(f'"{text}" is not a time of day', 'write hours and minutes, like "08:00"')
    return int(match[1]) * 60 + int(match[2])


def end_of_day(text: str) -> int:
    """Return the minute of the day, with ``24:00`` for the day's end."""
    return DAY_MINUTES if text == "24:00" else time_of_day(text)


def zone(text: str) -> str:
    """Return the name of a time zone of the ``tzdata`` package."""
    from sidecar.policy.needs import zones  # noqa: PLC0415 - zoneinfo takes milliseconds to import

    known = zones.names()
    if text not in known:
        raise ConditionValueError(f'"{text}" is not a time zone', zones.suggested(text))
    return text
