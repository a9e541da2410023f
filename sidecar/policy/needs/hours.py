"""Classes of real time: instants at which the same hours are met in all zones are one class.

Only combinations of local times that really happen are classes. They are found over `zones.CYCLE_BEGIN` to
`zones.CYCLE_END`; a clock change is a boundary.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from sidecar.policy.needs.condition_values import DAY_MINUTES, Hours
from sidecar.policy.needs.conditions import Condition

WEEK_MINUTES: Final = 7 * DAY_MINUTES
_WEEK_S: Final = WEEK_MINUTES * 60
_MONDAY: Final = 4 * 24 * 3600
"""1970-01-05T00:00Z, the first Monday of Unix time."""
_LAST: Final = 4_102_444_800
"""2100-01-01T00:00Z. Later instants, and instants before 1970, meet no hours."""


class ZoneHours(msgspec.Struct, frozen=True):
    """Local week of one zone: the start of each part in minutes, and the conditions met in it as bits."""

    zone: str
    starts: tuple[int, ...]
    masks: tuple[int, ...]


class TimeClasses(msgspec.Struct, frozen=True):
    """Classes of real time. ``masks``: per class, the numbers of its conditions as bits. Class 0 meets none.

    ``samples``: an instant per class, in Unix seconds; 0 if class 0 never happens.
    """

    zones: tuple[ZoneHours, ...] = ()
    masks: tuple[int, ...] = (0,)
    samples: tuple[int, ...] = (1,)


class TimeIndex:
    """Look-up in `TimeClasses`. Remembers the class until its end."""

    def __init__(self, classes: TimeClasses) -> None:
        self._zones = classes.zones
        self._numbers = {mask: number for number, mask in enumerate(classes.masks)}
        self._known = (0.0, 0.0, 0)

    def find(self, now: float) -> int:
        """Return the class at an instant in Unix seconds."""
        begin, end, number = self._known
        return number if begin <= now < end else self._look_up(now)[2]

    def until(self, now: float) -> float:
        """Return the instant until which the class is known to stay."""
        begin, end, _ = self._known
        return end if begin <= now < end else max(now, self._look_up(now)[1])

    def _look_up(self, now: float) -> tuple[float, float, int]:
        if not self._zones:
            self._known = (float("-inf"), float("inf"), 0)
        elif 0 <= now < _LAST:
            mask, end = mask_at(self._zones, int(now))
            self._known = (float(int(now)), float(end), self._numbers.get(mask, 0))
        else:
            return (now, now, 0)
        return self._known


def mask_at(zones: Sequence[ZoneHours], second: int) -> tuple[int, int]:
    """Return the conditions met at an instant as bits, and the instant until which these are known to stay."""
    from sidecar.policy.needs.zones import offset_until  # noqa: PLC0415 - see time_classes

    mask, end = 0, _LAST
    for one in zones:
        offset, until = offset_until(one.zone, second)
        local = (second + offset - _MONDAY) % _WEEK_S
        index = bisect_right(one.starts, local // 60) - 1
        mask |= one.masks[index]
        following = one.starts[index + 1] if index + 1 < len(one.starts) else WEEK_MINUTES
        end = min(end, until, second - local + following * 60)
    return mask, end


def time_classes(conditions: Sequence[Condition]) -> TimeClasses:
    """Return the classes of all hours. The number of a condition is its index."""
    by_zone: dict[str, list[tuple[int, Hours]]] = {}
    for number, condition in enumerate(conditions):
        if condition.hours is not None:
            by_zone.setdefault(condition.hours.zone, []).append((number, condition.hours))
    if not by_zone:
        return TimeClasses()
    zones = tuple(_zone_hours(zone, spans) for zone, spans in by_zone.items())
    samples: dict[int, int] = {}
    for mask, instant in _moments(zones):
        samples.setdefault(mask, instant)
    masks = (0, *sorted(samples.keys() - {0}))
    return TimeClasses(zones, masks, tuple(samples.get(mask, 0) for mask in masks))


def _zone_hours(zone: str, spans: Sequence[tuple[int, Hours]]) -> ZoneHours:
    steps: dict[int, int] = {0: 0}
    for number, hours in spans:
        for start, end in week_spans(hours):
            steps[start] = steps.get(start, 0) ^ (1 << number)
            steps[end] = steps.get(end, 0) ^ (1 << number)
    steps.pop(WEEK_MINUTES, None)
    parts: list[tuple[int, int]] = []
    mask = 0
    for start in sorted(steps):
        mask ^= steps[start]
        if not parts or parts[-1][1] != mask:
            parts.append((start, mask))
    return ZoneHours(zone, tuple(start for start, _ in parts), tuple(found for _, found in parts))


def week_spans(hours: Hours) -> Iterator[tuple[int, int]]:
    """Yield start and end of each time, in minutes of the local week. A time over the week's end is two."""
    length = (hours.end - hours.start) % DAY_MINUTES or DAY_MINUTES
    for day in hours.days:
        start = day * DAY_MINUTES + hours.start
        yield start, min(start + length, WEEK_MINUTES)
        if start + length > WEEK_MINUTES:
            yield 0, start + length - WEEK_MINUTES


def _moments(zones: Sequence[ZoneHours]) -> Iterator[tuple[int, int]]:
    """Yield the conditions met as bits, with an instant, for each combination that happens."""
    from sidecar.policy.needs import zones as rules  # noqa: PLC0415 - zoneinfo takes milliseconds to import

    changes = sorted({instant for one in zones for instant in rules.changes(one.zone)[0]})
    complete: set[tuple[int, ...]] = set()
    for begin, end in zip(changes, [*changes[1:], rules.CYCLE_END], strict=True):
        offsets = tuple(rules.offset_until(one.zone, begin)[0] for one in zones)
        if offsets in complete:
            continue
        if end - begin >= _WEEK_S:
            complete.add(offsets)
        instant = begin
        while instant < min(end, begin + _WEEK_S):
            mask, following = mask_at(zones, instant)
            yield mask, instant
            instant = following
