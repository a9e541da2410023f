"""The condition in the address of a gateway's redirect: read before ``rd``, never out of it."""

import pytest

from tests.console.node import call


@pytest.mark.parametrize(
    ("search", "name"),
    [
        ("?step_up=second-factor&rd=/a", "second-factor"),
        ("?step_up=second-factor", "second-factor"),
        ("?lang=de&step_up=fresh&rd=%2Fa", "fresh"),
        ("?rd=/a?step_up=fresh", ""),
        ("?rd=/a&step_up=fresh", ""),
        ("?lang=de&rd=/a?b&step_up=fresh", ""),
        ("?step_up=<b>&rd=/a", ""),
        ("?step_up=" + "a" * 41, ""),
        ("?step_up=", ""),
        ("", ""),
    ],
)
def test_the_condition_of_a_redirect(search: str, name: str) -> None:
    assert call("rd.js", [("stepUpOf", [search])]) == [name]
