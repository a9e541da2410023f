"""FIFO caches, bounded by entries or by bytes. Eviction is by age and not by use, so a hit costs one look-up.

OrderedDict instead of dict: to find its first entry, a full dict scans the slots of all removed entries. That took up
to 12 µs per new entry of a full token cache.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

ENTRY_OVERHEAD: Final = 1000
"""Bytes per entry in addition to its key: an upper estimate for verified claims."""


class FifoCache(OrderedDict[K, V]):
    """OrderedDict of at most ``max_entries`` entries. Add entries with ``set``, not with item assignment."""

    def __init__(self, max_entries: int) -> None:
        super().__init__()
        self._max_entries = max_entries

    def set(self, key: K, value: V) -> None:
        self[key] = value
        if len(self) > self._max_entries:
            self.popitem(last=False)


class SizedFifoCache(Generic[K, V]):
    """Cache of at most ``max_bytes`` of keys and values, and of at most ``max_entries`` entries.

    ``get(key)`` returns the value or None. It is bound once because it is on the hot path of a check.
    """

    def __init__(self, max_bytes: int, max_entries: int | None = None) -> None:
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._bytes = 0
        self._values: OrderedDict[K, V] = OrderedDict()
        self._sizes: dict[K, int] = {}
        self.get = self._values.get

    def __len__(self) -> int:
        return len(self._values)

    def set(self, key: K, value: V, size: int) -> None:
        """Add an entry of ``size`` bytes, then evict the oldest entries beyond the bounds.

        The new entry itself is evicted if it is too large.
        """
        self.drop(key)  # otherwise the two dicts would hold two equal key objects
        self._values[key], self._sizes[key] = value, size
        self._bytes += size
        while self._bytes > self._max_bytes or (self._max_entries is not None and len(self) > self._max_entries):
            oldest, _ = self._values.popitem(last=False)
            self._bytes -= self._sizes.pop(oldest)

    def drop(self, key: K) -> None:
        """Remove the entry of ``key``, if present."""
        if key in self._values:
            del self._values[key]
            self._bytes -= self._sizes.pop(key)

    def clear(self) -> None:
        self._values.clear()
        self._sizes.clear()
        self._bytes = 0


class SeenBefore:
    """Admission filter of a cache: admits a key on its second occurrence.

    Holds hashes of the last ``max_entries`` to 2 × ``max_entries`` keys. A hash collision admits a key one request
    early.
    """

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._recent: set[int] = set()
        self._older: set[int] = set()

    def __len__(self) -> int:
        return len(self._recent) + len(self._older)

    def __call__(self, key: Hashable) -> bool:
        """Return True if the key was seen recently; otherwise store its hash and return False."""
        mark = hash(key)
        if mark in self._recent or mark in self._older:
            return True
        if len(self._recent) >= self._max_entries:
            self._recent, self._older = set(), self._recent
        self._recent.add(mark)
        return False
