"""What was seen lately: a dictionary with so many places, from which the oldest entry leaves first.

For caches, which may forget anything. A plain dictionary would do, but looks for its first entry past the places of all
that have left: with a full cache of tokens that took up to 12 µs for each new one.
"""

from collections import OrderedDict
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(OrderedDict[K, V]):
    """At most ``places`` entries. Entries leave by age and not by use, so that a hit costs one look-up."""

    def __init__(self, places: int) -> None:
        super().__init__()
        self._places = places

    def put(self, key: K, value: V) -> None:
        self[key] = value
        if len(self) > self._places:
            self.popitem(last=False)
