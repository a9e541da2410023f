"""Order of the steps of a rotation and of a revocation (R21), observed by a scripted fleet."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sidecar.server.key_rotation import (
    KEEP_RETIRED,
    KeyPublished,
    KeyRevoked,
    KeysRotated,
    NoSuchKey,
    NotFollowed,
    NothingPublished,
    Rotation,
)
from sidecar.sources.key_files import load, load_or_create
from sidecar.sources.key_rotation import KeyState, list_keys
from sidecar.store.live.fleet import Revocation
from sidecar.store.outcomes import Position


@dataclass
class Seen:
    """Content of the directory at a request to the fleet."""

    signs: str
    keys: int


@dataclass
class Fleet:
    """Each member reads the directory at the ``slow``-th request, or never."""

    directory: Path
    slow: dict[str, float]
    seen: list[Seen] = field(default_factory=list)
    announced: int = 0
    acknowledged: bool = True

    async def announce(self, kind: str) -> list[Position]:
        assert kind == "keys"
        self.announced += 1
        self.asked = dict.fromkeys(self.slow, 0)
        return [Position(0, self.announced)]

    async def members(self) -> list[dict[str, Any]]:
        keys = load(self.directory).keys
        self.seen.append(Seen(keys.kid, len(keys.verifying)))
        for name in self.asked:
            self.asked[name] += 1
        return [
            {"id": name, "keys": keys.version if self.asked[name] > slow else "older"}
            for name, slow in self.slow.items()
        ]

    async def wait_applied(self, position: Position) -> Revocation:
        return Revocation(self.acknowledged, len(self.slow), 1)


class Audit:
    def __init__(self) -> None:
        self.rows: list[tuple[str, str, Any]] = []

    async def note(self, action: str, actor: Any, *, target: str, before: Any, after: Any) -> int:
        assert actor.user is None
        self.rows.append((action, target, after))
        return len(self.rows)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    load_or_create(tmp_path / "keys")
    return tmp_path / "keys"


@pytest.fixture
def audit() -> Audit:
    return Audit()


@pytest.fixture
def rotation(directory: Path, audit: Audit, clock: Any) -> Any:
    async def sleep(seconds: float) -> None:
        clock.advance(seconds)

    def build(fleet: Fleet, **more: Any) -> Rotation:
        return Rotation(directory, fleet, audit, clock=clock.time, patience=5, sleep=sleep, **more)

    return build


async def test_R21_a_new_key_signs_only_once_every_sidecar_has_read_it(
    directory: Path, rotation: Any, audit: Audit
) -> None:
    old = load(directory).keys.kid
    fleet = Fleet(directory, {"a": 0, "b": 3})
    outcome = await rotation(fleet).rotate()
    assert outcome == KeysRotated(load(directory).keys.kid, old, (), 2, ())
    assert [seen.signs == old for seen in fleet.seen] == [True] * 4 + [False] * 4
    assert {seen.keys for seen in fleet.seen} == {2}, "both verify tokens throughout"
    assert fleet.announced == 2
    assert audit.rows == [("keys.rotated", outcome.kid, {"active": outcome.kid, "removed": []})]


async def test_R21_a_sidecar_that_lags_keeps_the_old_key_active(
    directory: Path, rotation: Any, audit: Audit, clock: Any
) -> None:
    old, began = load(directory).keys.kid, clock.time()
    outcome = await rotation(Fleet(directory, {"a": 0, "b": 1e9})).rotate()
    assert isinstance(outcome, NotFollowed)
    assert outcome.behind == ("b",)
    assert load(directory).keys.kid == old
    assert clock.time() - began == pytest.approx(5, abs=0.1)
    assert audit.rows == []
    again = await rotation(Fleet(directory, {"a": 0})).rotate()
    assert isinstance(again, KeysRotated)
    assert again.kid == outcome.kid, "the next rotation resumes there"


async def test_a_key_can_be_held_before_it_signs(directory: Path, rotation: Any, clock: Any) -> None:
    began = clock.time()
    assert isinstance(await rotation(Fleet(directory, {"a": 0}), hold=60).rotate(), KeysRotated)
    assert clock.time() - began == 60


async def test_keys_that_retired_more_than_a_day_ago_are_taken_away(directory: Path, rotation: Any, clock: Any) -> None:
    first = load(directory).keys.kid
    fleet = Fleet(directory, {})
    await rotation(fleet).rotate()
    clock.advance(KEEP_RETIRED)
    assert (await rotation(fleet).rotate()).removed == ()
    clock.advance(1)
    assert (await rotation(fleet).rotate()).removed == (first,)
    assert len(list(directory.glob("*.pem"))) == 3
    assert [(file.kid, file.state) for file in list_keys(directory) if file.path.suffix == ".pub"] == [
        (first, KeyState.FORMER)
    ]


async def test_R5_revoking_a_former_key_removes_its_public_half(directory: Path, rotation: Any, clock: Any) -> None:
    first = load(directory).keys.kid
    await rotation(Fleet(directory, {})).rotate()
    clock.advance(KEEP_RETIRED + 1)
    await rotation(Fleet(directory, {})).rotate()
    assert first in load(directory).keys.former
    outcome = await rotation(Fleet(directory, {"a": 0, "b": 1e9})).revoke(first)
    assert isinstance(outcome, KeyRevoked)
    assert (outcome.complete, outcome.behind) == (False, ("b",))
    assert load(directory).keys.former == {}
    assert not list(directory.glob("*.pub"))


async def test_R21_a_revoked_key_is_gone_before_anybody_is_asked(directory: Path, rotation: Any, audit: Audit) -> None:
    old = load(directory).keys.kid
    fleet = Fleet(directory, {"a": 0, "b": 0})
    outcome = await rotation(fleet).revoke(old)
    assert outcome == KeyRevoked(old, load(directory).keys.kid, 2, True, ())
    assert all(seen.signs != old and seen.keys == 1 for seen in fleet.seen)
    assert audit.rows == [("keys.revoked", old, {"active": outcome.active})]
    assert await rotation(fleet).revoke(old) == NoSuchKey()


@pytest.mark.parametrize(("acknowledged", "slow", "behind"), [(False, 0, ()), (True, 1e9, ("b",))])
async def test_R21_a_revocation_completes_with_the_whole_fleet(
    directory: Path, rotation: Any, acknowledged: bool, slow: float, behind: tuple[str, ...]
) -> None:
    """An acknowledgement alone is not enough, nor are the responses of the reachable members."""
    fleet = Fleet(directory, {"a": 0, "b": slow}, acknowledged=acknowledged)
    outcome = await rotation(fleet).revoke(load(directory).keys.kid)
    assert (outcome.complete, outcome.behind) == (False, behind)


# Keys in a Secret: the sidecars read copies of the directory ----------------------------------------------------------


@dataclass
class CopyFleet:
    """Each member serves with the copy that it started with; ``restart`` takes the directory's."""

    directory: Path
    copies: dict[str, Any] = field(default_factory=dict)

    def restart(self, *names: str) -> None:
        for name in names:
            self.copies[name] = load(self.directory).keys

    async def announce(self, kind: str) -> list[Position]:
        return [Position(0, 1)]

    async def members(self) -> list[dict[str, Any]]:
        return [{"id": name, "keys": keys.version} for name, keys in self.copies.items()]


async def test_R21_a_secret_is_rotated_in_two_steps_and_two_restarts(
    directory: Path, rotation: Any, audit: Audit
) -> None:
    old = load(directory).keys.kid
    fleet = CopyFleet(directory)
    fleet.restart("a", "b")
    assert await rotation(fleet).sign() == NothingPublished()
    published = await rotation(fleet).publish()
    assert isinstance(published, KeyPublished)
    assert (published.active, load(directory).keys.kid) == (old, old)
    assert await rotation(fleet).publish() == published, "a repeated step adds no second key"

    fleet.restart("a")
    assert await rotation(fleet).sign() == NotFollowed(published.kid, ("b",))
    assert load(directory).keys.kid == old
    fleet.restart("b")
    assert await rotation(fleet).sign() == KeysRotated(published.kid, old, (), 2, ())
    assert load(directory).keys.kid == published.kid

    fleet.restart("a")  # in the second restart both keys sign, and all verify both
    signing = {keys.kid for keys in fleet.copies.values()}
    assert signing == {old, published.kid}
    assert all(signing <= set(keys.verifying) for keys in fleet.copies.values())
    assert await rotation(fleet).sign() == NothingPublished()
    assert [row[0] for row in audit.rows] == ["keys.published", "keys.rotated"]


async def test_a_rotation_of_either_form_continues_the_other(directory: Path, rotation: Any) -> None:
    published = await rotation(CopyFleet(directory)).publish()
    outcome = await rotation(Fleet(directory, {"a": 0})).rotate()
    assert isinstance(outcome, KeysRotated)
    assert outcome.kid == published.kid
