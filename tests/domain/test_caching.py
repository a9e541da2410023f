"""FIFO caches: bounded by entries and by bytes, the oldest entry leaves first; and their admission filter."""

from sidecar.domain.caching import FifoCache, SeenBefore, SizedFifoCache


def test_the_oldest_entry_leaves_first_however_often_it_was_used() -> None:
    seen: FifoCache[str, int] = FifoCache(3)
    for number, name in enumerate("abc"):
        seen.set(name, number)
    assert seen.get("a") == 0
    seen.set("d", 3)
    assert dict(seen) == {"b": 1, "c": 2, "d": 3}


def test_an_entry_that_is_put_again_takes_no_second_place() -> None:
    seen: FifoCache[str, int] = FifoCache(2)
    for number, name in enumerate("abaab"):
        seen.set(name, number)
    assert dict(seen) == {"a": 3, "b": 4}


def test_sized_the_oldest_entry_leaves_first() -> None:
    cache: SizedFifoCache[str, int] = SizedFifoCache(30)
    for number, key in enumerate("abcd"):
        cache.set(key, number, 10)
    assert len(cache) == 3
    assert cache.get("a") is None
    assert cache.get("d") == 3


def test_sized_an_entry_that_is_too_large_is_not_kept() -> None:
    cache: SizedFifoCache[str, int] = SizedFifoCache(10)
    cache.set("x", 1, 11)
    assert len(cache) == 0
    cache.set("y", 2, 10)
    assert cache.get("y") == 2


def test_sized_entries_are_bounded_too() -> None:
    cache: SizedFifoCache[str, int] = SizedFifoCache(100, 2)
    for key in "abc":
        cache.set(key, 0, 1)
    assert [cache.get(key) for key in "abc"] == [None, 0, 0]


def test_sized_a_key_that_is_set_again_is_counted_once() -> None:
    cache: SizedFifoCache[str, int] = SizedFifoCache(10)
    for number in range(5):
        cache.set("a", number, 10)
    assert cache.get("a") == 4
    cache.drop("a")
    cache.drop("a")
    cache.set("b", 1, 10)
    assert cache.get("b") == 1
    cache.clear()
    assert len(cache) == 0


def test_the_filter_admits_the_second_time_and_is_bounded() -> None:
    seen_before = SeenBefore(10)
    assert [seen_before("a"), seen_before("a")] == [False, True]
    for number in range(100):
        seen_before(number)
    assert len(seen_before) <= 20
    assert not seen_before("a")
