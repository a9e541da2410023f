"""Subjects without a user are cached until the feed reports a change, and no longer than a record copy."""

import pytest

from sidecar.pdp import unlinked_subjects
from sidecar.pdp.unlinked_subjects import MAX_AGE, UnlinkedSubjects
from sidecar.store.live.change_feed import FeedEntry, FeedReset

ACME, EVIL, OTHER = "acc_aaaaaaaaaaaa", "acc_eeeeeeeeeeee", "acc_oooooooooooo"
PARTY = object()


class World:
    def __init__(self, clock):
        self.clock = clock
        self.live = {ACME, EVIL}
        self.subjects = UnlinkedSubjects(live=self.live.__contains__, clock=clock.monotonic)

    def look_up(self, name="s-1", accounts=(ACME,), complete=True, party=PARTY, meanwhile=lambda: None):
        horizon = self.subjects.horizon(accounts, complete=complete)
        meanwhile()
        self.subjects.put(name, party, horizon)

    def knows(self, name="s-1", party=PARTY):
        return self.subjects.knows(name, party)

    def hear(self, kind="user", account=ACME):
        self.subjects.apply(0, FeedEntry(1, kind, account, "usr_aaaaaaaaaaaa_bbbbbbbbbbbb", 1, 1, False))


@pytest.fixture
def world(clock):
    return World(clock)


def test_a_looked_up_subject_without_a_user_is_cached_alone(world):
    assert not world.knows()
    world.look_up()
    assert world.knows()
    assert not world.knows("s-2")
    assert world.knows()
    assert not world.knows(party=object()), "the operator changed the issuer's entry"


@pytest.mark.parametrize(
    ("kind", "account", "holds"),
    [
        ("user", ACME, False),
        ("user", EVIL, False),
        ("removed", ACME, False),
        ("user", OTHER, True),
        ("pep", OTHER, True),
        ("account", OTHER, False),
        ("restored", OTHER, False),
    ],
)
def test_an_entry_is_valid_until_a_change_of_its_accounts(world, kind, account, holds):
    world.look_up(accounts=(ACME, EVIL))
    world.hear(kind, account)
    assert world.knows() is holds
    assert world.knows() is holds, "and it is not restored"


def test_where_a_name_was_no_accounts_a_change_anywhere_ends_it(world):
    world.look_up(complete=False)
    assert world.knows()
    world.hear("user", OTHER)
    assert not world.knows(), "the account may have just been made"


def test_a_change_during_the_look_up_ends_it_too(world):
    world.look_up(meanwhile=world.hear)
    assert not world.knows()
    world.look_up()
    assert world.knows()


def test_what_may_have_been_missed_ends_everything(world):
    world.look_up()
    world.subjects.flush(FeedReset(0, 7, new_data_set=False))
    assert not world.knows()


def test_R47_after_lease_and_thirty_seconds_the_store_is_read(world, clock):
    world.look_up()
    world.live.discard(ACME)
    assert not world.knows()
    world.live.add(ACME)
    world.look_up()
    clock.advance(MAX_AGE - 0.001)
    assert world.knows()
    clock.advance(0.001)
    assert not world.knows()


def test_what_is_remembered_is_bounded(world, monkeypatch):
    monkeypatch.setattr(unlinked_subjects, "MAX_ACCOUNTS", 3)
    for number in range(10):
        world.look_up(f"s-{number}", accounts=(f"acc_{number}",))
    assert len(world.subjects._changes) <= 4
    for number in range(20_000):
        world.look_up(f"s-{number}")
    assert len(world.subjects._entries) < 10_000
