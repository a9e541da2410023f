"""``sidecar pep``: keys for gateways and services, as an operator manages them."""

import json
import re
from typing import Any

import pytest

KEY = re.compile(r"pep_[a-z2-7]{12}_[a-z2-7]{12}_[a-z2-7]{32}")


def listed(at_store: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(at_store("pep", "list", "--account", "Acme", "--json").out)
    return found


def test_R20_create_prints_the_key_once_and_nothing_else(at_store: Any) -> None:
    done = at_store("pep", "create", "nginx", "--account", "Acme")
    assert (done.status, done.err) == (0, "")
    key = done.out.rstrip("\n")
    assert KEY.fullmatch(key)
    (shown,) = listed(at_store)
    assert shown["name"] == "nginx"
    assert shown["id"] == key[: len("pep_") + 25]
    assert shown["scopes"] == ["evaluate", "introspect", "search"]
    assert key not in at_store("pep", "list", "--json").out
    assert key[-32:] not in at_store("pep", "list").out


def test_scopes_life_and_rate_are_the_operators(at_store: Any) -> None:
    words = ("--scope", "evaluate", "--ttl", "12h", "--rate", "5", "--json")
    made = json.loads(at_store("pep", "create", "menu", "--account", "acme", *words).out)
    assert KEY.fullmatch(made.pop("key"))
    assert made == listed(at_store)[0]
    assert (made["scopes"], made["rate"]) == (["evaluate"], 5)


def test_list_shows_a_table(at_store: Any) -> None:
    assert listed(at_store) == []
    at_store("pep", "create", "nginx", "--scope", "search")
    lines = at_store("pep", "list").out.splitlines()
    assert lines[0].split() == ["ID", "NAME", "SCOPES", "RATE", "EXPIRES"]
    assert lines[1].split()[1:4] == ["nginx", "search", "100000"]


@pytest.mark.parametrize("by", ["name", "id"])
def test_revoke_by_name_or_id(at_store: Any, by: str) -> None:
    at_store("pep", "create", "nginx")
    (held,) = listed(at_store)
    done = at_store("pep", "revoke", held[by])
    assert (done.status, done.out) == (0, f"nginx ({held['id']}) is revoked\n")
    assert listed(at_store) == []
    again = at_store("pep", "revoke", held[by], "--json")
    assert (again.status, again.out) == (1, "")


def test_revoke_tells_the_fleets_word_as_json(at_store: Any) -> None:
    at_store("pep", "create", "nginx")
    done = json.loads(at_store("pep", "revoke", "nginx", "--json").out)
    assert done["revoked"]["name"] == "nginx"
    assert done["revocation"]["complete"] is True


@pytest.mark.parametrize(
    ("argv", "status", "part"),
    [
        (("create", "nginx"), 1, "there is a key 'nginx' already: pep_"),
        (("create", ""), 2, "1 to 100 printable characters"),
        (("create", "pep_x"), 2, "do not begin with pep_"),
        (("create", "a\nb"), 2, "printable"),
        (("create", "x", "--account", "nobody"), 1, "there is no account 'nobody'"),
        (("create", "x", "--scope", "everything"), 2, "'everything' is not one of"),
        (("create", "x", "--ttl", "soon"), 2, "not a duration"),
        (("create", "x", "--ttl", "0s"), 2, "must be from"),
        (("create", "x", "--rate", "0"), 2, "--rate"),
        (("create",), 2, "NAME"),
        (("revoke", "caddy"), 1, "there is no key 'caddy'"),
    ],
)
def test_what_cannot_be_done_says_why(at_store: Any, argv: tuple[str, ...], status: int, part: str) -> None:
    at_store("pep", "create", "nginx")
    done = at_store("pep", *argv)
    assert (done.status, done.out) == (status, "")
    assert part in done.err
    assert done.err.count("\n") == 1
