"""A dictionary that cannot outgrow its bytes: the oldest entry leaves first. For caches: it may forget anything."""

from collections import OrderedDict
from typing import Generic, TypeVar

ENTRY_OVERHEAD = 1000
"""Bytes counted for an entry's value and slot beside its key; an upper estimate for verified claims."""

V = TypeVar("V")


class Bounded(Generic[V]):
    """Keys are text. A hit costs one dictionary look-up: entries leave by age, not by use."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[str, V] = OrderedDict()
        self.get = self._entries.get
        """``get(key)``: the value or None. Bound once, because it stands on the hot path."""

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: str, value: V) -> None:
        """Keep ``value``; whatever no longer fits goes, ``key`` itself when it alone is too large."""
        if key not in self._entries:
            self._bytes += len(key) + ENTRY_OVERHEAD
        self._entries[key] = value
        while self._bytes > self._max_bytes:
            oldest, _ = self._entries.popitem(last=False)
            self._bytes -= len(oldest) + ENTRY_OVERHEAD

    def drop(self, key: str) -> None:
        if self._entries.pop(key, None) is not None:
            self._bytes -= len(key) + ENTRY_OVERHEAD

    def clear(self) -> None:
        self._entries.clear()
        self._bytes = 0
