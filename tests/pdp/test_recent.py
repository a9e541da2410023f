"""Places for what was seen lately: bounded, and the oldest leaves first."""

from sidecar.domain.caching import Recent


def test_the_oldest_entry_leaves_first_however_often_it_was_used() -> None:
    seen: Recent[str, int] = Recent(3)
    for number, name in enumerate("abc"):
        seen.put(name, number)
    assert seen.get("a") == 0
    seen.put("d", 3)
    assert dict(seen) == {"b": 1, "c": 2, "d": 3}


def test_an_entry_that_is_put_again_takes_no_second_place() -> None:
    seen: Recent[str, int] = Recent(2)
    for number, name in enumerate("abaab"):
        seen.put(name, number)
    assert dict(seen) == {"a": 3, "b": 4}
