"""A dictionary with so many places and so many bytes, for what has come before; the oldest leaves first."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class Shelf(Generic[V]):
    """``get(key)``: the value or None, for one look-up: entries leave by age and not by use."""

    def __init__(self, places: int, max_bytes: int) -> None:
        self._places = places
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Hashable, V] = OrderedDict()
        self._sizes: dict[Hashable, int] = {}
        self._bytes = 0
        self._once: set[int] = set()
        self._once_before: set[int] = set()
        self.get = self._kept.get

    def __len__(self) -> int:
        return len(self._kept)

    def came_before(self, key: Hashable) -> bool:
        """Is this lately the second time? What comes once is not worth a place."""
        mark = hash(key)
        if mark in self._once or mark in self._once_before:
            return True
        if len(self._once) >= self._places:
            self._once, self._once_before = set(), self._once
        self._once.add(mark)
        return False

    def keep(self, key: Hashable, value: V, size: int) -> None:
        """``size``: bytes of both."""
        self._kept.pop(key, None)  # from both, or each would hold a key of its own
        self._bytes += size - self._sizes.pop(key, 0)
        self._kept[key], self._sizes[key] = value, size
        while self._bytes > self._max_bytes or len(self._kept) > self._places:
            oldest, _ = self._kept.popitem(last=False)
            self._bytes -= self._sizes.pop(oldest)
