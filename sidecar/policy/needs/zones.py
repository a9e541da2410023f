"""Time zones of the ``tzdata`` package alone, so that all replicas use the same rules (`version`).

The import changes `zoneinfo` for the whole process: the machine's own files are ignored from then on.
"""

import zoneinfo
from bisect import bisect_right
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Final

import tzdata

from sidecar.policy.diagnostics import closest

zoneinfo.reset_tzpath(())
zoneinfo.ZoneInfo.clear_cache()

DAY_S: Final = 24 * 3600
WEEK_S: Final = 7 * DAY_S
"""Step of the search for clock changes. No zone has two within a week in the cycle; a test compares with days."""
_ABBREVIATION: Final = 4
"""Maximum length of names like CEST, which have no zone in common."""
CYCLE_BEGIN: Final = 1_704_067_200
"""2024-01-01T00:00Z, a Monday."""
CYCLE_END: Final = 2_587_680_000
"""2052-01-01T00:00Z. Dates and days of the week repeat after 28 years, until 2100."""


def version() -> str:
    """Return the version of the rules, like ``2026f``."""
    return str(tzdata.IANA_VERSION)


@cache
def names() -> frozenset[str]:
    """Return the names of all zones."""
    return frozenset(files(tzdata).joinpath("zones").read_text(encoding="ascii").split())


def suggested(name: str) -> str:
    """Return the closest zone of this name as a hint."""
    by_form = {zone.lower().replace("_", "-"): zone for zone in names() if "/" in zone or zone == "UTC"}
    cities = {form.rpartition("/")[2]: zone for form, zone in by_form.items()}
    for known in (by_form, cities):
        near = closest(name, known) if len(name) > _ABBREVIATION else None
        if near is not None:
            return f'did you mean "{known[near]}"?'
    return 'write a name like "Europe/Berlin" or "UTC"'


def offset(zone: str, at: int) -> int:
    """Return the offset of local time from UTC, in seconds. ``at``: Unix seconds."""
    delta = datetime.fromtimestamp(at, zoneinfo.ZoneInfo(zone)).utcoffset()
    return 0 if delta is None else delta.days * DAY_S + delta.seconds


@cache
def changes(zone: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the clock changes of the cycle: instants from `CYCLE_BEGIN`, and the offset from each of them on."""
    instants, offsets = [CYCLE_BEGIN], [offset(zone, CYCLE_BEGIN)]
    for week in range(CYCLE_BEGIN, CYCLE_END, WEEK_S):
        after = offset(zone, week + WEEK_S)
        if after != offsets[-1]:
            instants.append(_first_change(zone, week, week + WEEK_S))
            offsets.append(after)
    return tuple(instants), tuple(offsets)


def _first_change(zone: str, before: int, after: int) -> int:
    """Return the first instant with the offset of ``after``."""
    goal = offset(zone, after)
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (before, middle) if offset(zone, middle) == goal else (middle, after)
    return after


def offset_until(zone: str, at: int) -> tuple[int, int]:
    """Return the offset at an instant, and the instant until which it is known to hold."""
    if not CYCLE_BEGIN <= at < CYCLE_END:
        return offset(zone, at), at - at % 60 + 60
    instants, offsets = changes(zone)
    index = bisect_right(instants, at) - 1
    return offsets[index], instants[index + 1] if index + 1 < len(instants) else CYCLE_END
