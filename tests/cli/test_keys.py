"""``sidecar keys``: list, rotate and revoke without a fleet, and errors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.sources.key_files import new_key
from sidecar.sources.key_rotation import rotating

KEYS = Path(".sidecar/keys")


@pytest.fixture
def at_store(cli: Any, real_redis_url: str) -> Callable[..., Any]:
    return lambda *argv: cli(*argv, "--redis-url", real_redis_url)


def listed(cli: Any) -> dict[str, str]:
    done = cli("keys", "list", "--json")
    assert done.status == 0, done.err
    return {key["kid"]: key["state"] for key in json.loads(done.out)["keys"]}


def rotated(at_store: Any, *more: str) -> dict[str, Any]:
    done = at_store("keys", "rotate", "--json", *more)
    assert (done.status, done.err) == (0, "")
    told: dict[str, Any] = json.loads(done.out)
    return told


def with_hyphen() -> tuple[str, bytes]:
    keys = (new_key(bytes([seed]).__mul__) for seed in range(256))
    return next(key for key in keys if key[0].startswith("-"))


def test_R21_with_no_sidecar_running_a_rotation_signs_at_once(cli: Any, at_store: Any) -> None:
    first = rotated(at_store)
    assert first["sidecars"] == 0
    second = rotated(at_store)
    assert second["retired"] == first["active"]
    assert listed(cli)[second["active"]] == "active"
    assert sorted(listed(cli).values()) == ["active", "retired", "retired"]


def test_R21_revoke_removes_a_key_and_replaces_the_active_one(cli: Any, at_store: Any) -> None:
    told = rotated(at_store)
    done = at_store("keys", "revoke", told["retired"], "--json")
    assert (done.status, json.loads(done.out)["complete"]) == (0, True)
    assert listed(cli) == {told["active"]: "active"}

    done = at_store("keys", "revoke", told["active"])
    assert (done.status, done.err) == (0, "")
    assert f"revoked   {told['active']}" in done.out
    (kid,) = listed(cli)
    assert kid != told["active"]
    assert kid in done.out


@pytest.mark.parametrize("words", [["{}", "--json"], ["--json", "{}"], ["--json", "--", "{}"]], ids=" ".join)
def test_R21_a_kid_with_a_leading_hyphen_is_revoked_too(
    cli: Any, at_store: Any, real_redis_url: str, words: list[str]
) -> None:
    told = rotated(at_store)
    kid, pem = with_hyphen()
    (KEYS / "spare.pem").write_bytes(pem)
    (KEYS / "spare.pem").chmod(0o600)
    assert listed(cli)[kid] == "unmanaged"
    done = cli("keys", "revoke", "--redis-url", real_redis_url, *(word.format(kid) for word in words))
    assert (done.status, done.err) == (0, "")
    assert json.loads(done.out)["revoked"] == kid
    assert sorted(listed(cli)) == sorted(told[state] for state in ("active", "retired"))


def test_a_mistyped_option_of_revoke_is_named(at_store: Any) -> None:
    rotated(at_store)
    done = at_store("keys", "revoke", "nope", "--tiemout", "3")
    assert done.status == 2
    assert "--tiemout" in done.err


def test_a_kid_that_is_not_there_is_a_no(at_store: Any) -> None:
    rotated(at_store)
    done = at_store("keys", "revoke", "nope")
    assert (done.status, done.out) == (1, "")
    assert done.err == "sidecar: there is no key nope: see sidecar keys list\n"


def test_list_is_a_table_of_kids_and_never_shows_a_key(cli: Any, at_store: Any) -> None:
    rotated(at_store)
    done = cli("keys", "list")
    assert done.status == 0
    lines = done.out.splitlines()
    assert lines[0].split() == ["KID", "STATE", "MADE", "RETIRED", "FILE"]
    assert len(lines) == 3
    assert "PRIVATE" not in done.out


def test_list_makes_nothing(cli: Any) -> None:
    done = cli("keys", "list")
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert not KEYS.exists()


def test_R21_a_second_rotation_at_the_same_time_is_refused(cli: Any, at_store: Any) -> None:
    rotated(at_store)
    before = listed(cli)
    with rotating(KEYS):
        for verb in (["rotate"], ["revoke", next(iter(before))]):
            done = at_store("keys", *verb)
            assert done.status == 2
            assert "another rotation is in progress" in done.err
    assert listed(cli) == before


def test_without_the_store_nothing_is_touched(cli: Any, at_store: Any) -> None:
    rotated(at_store)
    before = listed(cli)
    done = cli("keys", "rotate", "--redis-url", "unix:///tmp/there-is-no-such.sock")
    assert done.status == 3
    assert listed(cli) == before
