"""A cache cannot outgrow its bytes."""

from sidecar.pdp.bounded import ENTRY_OVERHEAD, Bounded


def test_the_oldest_entry_leaves_first() -> None:
    cache: Bounded[int] = Bounded(3 * (ENTRY_OVERHEAD + 1))
    for number, key in enumerate("abcd"):
        cache.put(key, number)
    assert len(cache) == 3
    assert cache.get("a") is None
    assert cache.get("d") == 3


def test_an_entry_that_alone_is_too_large_is_not_kept() -> None:
    cache: Bounded[int] = Bounded(ENTRY_OVERHEAD + 10)
    cache.put("x" * 100, 1)
    assert len(cache) == 0
    cache.put("y", 2)
    assert cache.get("y") == 2


def test_writing_a_key_again_costs_nothing() -> None:
    cache: Bounded[int] = Bounded(ENTRY_OVERHEAD + 1)
    for number in range(5):
        cache.put("a", number)
    assert cache.get("a") == 4
    cache.drop("a")
    cache.drop("a")
    cache.clear()
    assert len(cache) == 0
