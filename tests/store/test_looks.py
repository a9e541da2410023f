"""Questions asked together: one write a turn of the loop, each asker its own answer, an outage everybody's."""

import asyncio

import pytest

from sidecar.store.codec import record_of
from sidecar.store.errors import StoreUnavailable
from sidecar.store.transition import MOST_TOGETHER, Looks
from sidecar.vocabulary.people import Actor

OPERATOR = Actor.operator()


@pytest.fixture
def sent(town, monkeypatch):
    """How many questions each write had."""
    sizes = []
    together, alone = town.store.run_together, town.store.run

    async def run_together(name, calls):
        sizes.append(len(calls))
        return await together(name, calls)

    async def run(name, *more, **how):
        if name == "record":
            sizes.append(1)
        return await alone(name, *more, **how)

    monkeypatch.setattr(town.store, "run_together", run_together)
    monkeypatch.setattr(town.store, "run", run)
    return sizes


async def people(town, count):
    admin = await town.account(cap=count + 1)
    return [admin, *[await town.member(OPERATOR, admin.account, f"m{number}@example.com") for number in range(count)]]


async def test_what_is_asked_in_one_turn_goes_out_in_one_write(town, sent):
    everybody = await people(town, 5)
    looks = Looks(town.store, "record")
    replies = await asyncio.gather(*(looks.ask(each.account, uid=each.id) for each in everybody))
    assert [record_of(each.account, reply["r"]) for each, reply in zip(everybody, replies, strict=True)] == everybody
    assert sent == [6]
    assert (await looks.ask(everybody[0].account, uid="usr_nobody"))["o"] == "no_user"
    assert sent == [6, 1]


async def test_a_write_has_no_more_than_its_share(town, sent):
    admin = await town.account()
    looks = Looks(town.store, "record")
    await asyncio.gather(*(looks.ask(admin.account, uid=admin.id) for _ in range(MOST_TOGETHER * 2 + 3)))
    assert sorted(sent) == [3, MOST_TOGETHER, MOST_TOGETHER]


async def test_an_answer_is_never_older_than_its_question(town):
    admin = await town.account()
    looks = Looks(town.store, "record")
    for number in range(20):
        before = [asyncio.ensure_future(looks.ask(admin.account, uid=admin.id)) for _ in range(3)]
        await asyncio.sleep(0)
        await town.users.set_name(OPERATOR, admin.id, f"N{number}")
        after = await asyncio.gather(*(looks.ask(admin.account, uid=admin.id) for _ in range(3)))
        assert {reply["r"]["name"] for reply in after} == {f"N{number}"}
        await asyncio.gather(*before)


async def test_a_server_that_has_forgotten_the_script_is_told_it_again(town):
    admin = await town.account()
    looks = Looks(town.store, "record")
    await town.store.command("SCRIPT", "FLUSH")
    replies = await asyncio.gather(*(looks.ask(admin.account, uid=admin.id) for _ in range(4)))
    assert {reply["o"] for reply in replies} == {"record"}


async def test_an_outage_is_everybodys(town, monkeypatch):
    admin = await town.account()
    looks = Looks(town.store, "record")

    async def out(_name, calls):
        return [StoreUnavailable("out") for _ in calls]

    monkeypatch.setattr(town.store, "run_together", out)
    asked = [looks.ask(admin.account, uid=admin.id) for _ in range(3)]
    assert all(isinstance(each, StoreUnavailable) for each in await asyncio.gather(*asked, return_exceptions=True))


async def test_who_goes_away_takes_nobody_along(town):
    admin = await town.account()
    looks = Looks(town.store, "record")
    asked = [asyncio.ensure_future(looks.ask(admin.account, uid=admin.id)) for _ in range(3)]
    await asyncio.sleep(0)
    asked[1].cancel()
    replies = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(replies[1], asyncio.CancelledError)
    assert replies[0] == replies[2]


async def test_a_dead_connection_is_replaced_under_way(real_town):
    admin = await real_town.account()
    looks = Looks(real_town.store, "record")
    for _ in range(5):
        await asyncio.gather(*(looks.ask(admin.account, uid=admin.id) for _ in range(4)))
        await real_town.store.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
