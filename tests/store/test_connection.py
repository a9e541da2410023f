"""The connection: no command is executed twice, outages are reported as such, and one store belongs to one issuer."""

import asyncio
import contextlib
import json

import pytest
import redis.exceptions
import uvloop

from sidecar.domain.users import ADMINISTRATOR, Actor
from sidecar.store import keys, scripts
from sidecar.store.connection import Store
from sidecar.store.errors import StoreMismatchError, StoreUnavailableError, outage
from sidecar.store.maintenance.startup_checks import SCHEMA
from sidecar.store.outcomes import Changed
from sidecar.store.users import Users
from tests.conftest import PATIENT

OPERATOR = Actor.operator()


# Single execution -----------------------------------------------------------------------------------------------------


async def test_a_script_is_loaded_where_the_server_does_not_know_it(town):
    admin = await town.account()
    await town.store.change("SCRIPT", "FLUSH")

    assert await town.users.record(admin.id) == admin


async def test_a_write_with_a_lost_reply_is_retried_but_applied_once(town, monkeypatch):
    admin = await town.account()
    evaluate, lost = town.store._evaluate, []

    async def answer_lost(*args, **more):
        reply = await evaluate(*args, **more)
        if not lost:
            lost.append(reply)
            raise redis.exceptions.ConnectionError("the server closed the connection")
        return reply

    monkeypatch.setattr(town.store, "_evaluate", answer_lost)
    changed = await town.users.sign_out_everywhere(admin.id, OPERATOR)

    assert isinstance(changed, Changed)
    assert changed.record.epoch == 2
    assert (await town.users.record(admin.id)).epoch == 2
    assert len(lost) == 1


async def test_a_call_that_timed_out_is_not_repeated(town, monkeypatch):
    calls = 0

    async def slow(*args, **more):
        nonlocal calls
        calls += 1
        raise redis.exceptions.TimeoutError("Timeout reading from socket")

    monkeypatch.setattr(town.store, "_evaluate", slow)
    with pytest.raises(StoreUnavailableError):
        await town.users.sign_out_everywhere(town.uid("acc_aaaaaaaaaaaa"), OPERATOR)
    assert calls == 1


async def test_redis_py_repeats_nothing_by_itself(real_redis_url):
    """Its default of ten retries executed a password change twice."""
    store = await Store.open(real_redis_url, read_timeout=0.1, write_timeout=0.1)
    try:
        await store.change("SET", "n", 0)
        with pytest.raises(StoreUnavailableError):
            await store.change("EVAL", "redis.call('INCR', KEYS[1]) local n = 0 while n < 3e7 do n = n + 1 end", 1, "n")
        other = await Store.open(real_redis_url, read_timeout=5)
        assert await other.command("GET", "n") == "1"
        await other.close()
    finally:
        await store.close()


async def test_after_the_server_closes_connections_a_call_succeeds(real_town):
    admin = await real_town.account()
    await asyncio.gather(*(real_town.users.record(admin.id) for _ in range(10)))
    await real_town.store.change("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    assert await real_town.users.record(admin.id) == admin
    assert isinstance(await real_town.users.change(OPERATOR, admin.id, name="New"), Changed)


async def test_a_cancelled_call_does_not_mix_up_the_next_reply(real_town):
    admin = await real_town.account()
    for _ in range(30):
        call = asyncio.create_task(real_town.users.record(admin.id))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert await real_town.store.command("ECHO", "mine") == "mine"
    assert await real_town.users.record(admin.id) == admin


# Outages --------------------------------------------------------------------------------------------------------------


async def test_nobody_listening_is_unavailable(tmp_path):
    with pytest.raises(StoreUnavailableError):
        await Store.open(f"unix://{tmp_path}/nothing")
    with pytest.raises(StoreUnavailableError):
        await Store.open("redis://127.0.0.1:1/0")


@pytest.mark.parametrize("url", ["http://127.0.0.1", "redis:/nothing", "127.0.0.1:6379", ""])
async def test_an_address_of_no_store_is_refused(url):
    with pytest.raises(StoreMismatchError, match=r"SIDECAR_REDIS_URL .*not a store URL"):
        await Store.open(url)


async def test_R24_an_address_error_does_not_show_the_password():
    with pytest.raises(StoreMismatchError) as refused:
        await Store.open("redos://user:very-secret@127.0.0.1:6379")
    assert "very-secret" not in str(refused.value)


E = redis.exceptions


@pytest.mark.parametrize(
    ("error", "answered", "refused"),
    [
        (E.ConnectionError("x"), False, False),
        (E.TimeoutError("x"), False, False),
        (OSError("x"), False, False),
        (E.InvalidResponse("Protocol Error: H"), False, False),
        (E.BusyLoadingError("x"), True, False),
        (E.ReadOnlyError("x"), True, True),
        (E.OutOfMemoryError("OOM command not allowed"), True, False),
        (E.AuthenticationError("WRONGPASS x"), True, True),
        (E.NoPermissionError("this user has no permissions"), True, True),
        (E.ResponseError("NOREPLICAS Not enough good replicas to write."), True, True),
        (E.ResponseError("MISCONF Errors writing to the AOF file"), True, False),
        (E.ResponseError("OOM command not allowed when used memory > 'maxmemory'. script: ab"), True, False),
        (E.ResponseError("Error running script (call to f_ab): @user_script:9: -READONLY You"), True, True),
        (E.ResponseError("upstream failure"), True, True),
        (E.ResponseError("max number of clients reached"), True, True),
        (E.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), True, True),
        (E.ResponseError("The user executing the script can't run this command or subcommand"), True, True),
        (E.ResponseError("wrong number of arguments"), True, True),
        (E.ResponseError("DB index is out of range"), True, True),
    ],
)
def test_R50_whatever_redis_answers_is_an_outage(error, answered, refused):
    problem = outage(error)
    assert isinstance(problem, StoreUnavailableError)
    assert (problem.answered, problem.refused) == (answered, refused)
    assert type(error).__name__ not in str(problem), "the library's words"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            E.ConnectionError("Error 111 connecting to db:6379. Connect call failed ('10.0.0.1', 6379)."),
            "refused (db:6379)",
        ),
        (
            E.ConnectionError("Error 2 connecting to unix socket: /run/none. No such file."),
            "no such socket (/run/none)",
        ),
        (E.TimeoutError("Timeout connecting to server"), "no reply in time: check"),
        (E.ConnectionError("the Sentinels have no master of the name 'main'"), "no master of the name 'main': correct"),
        (OSError(32, "Broken pipe"), "it closed the connection"),
        (E.ConnectionError("<something odd>"), "the connection failed: see the server's log"),
    ],
)
def test_R50_a_silence_is_a_problem_and_a_remedy(error, message):
    assert message in str(outage(error))
    assert "Error" not in str(outage(error))


def test_R50_a_message_repeats_no_argument_and_is_one_short_line():
    reply = "unknown command 'EVALSHA', with args beginning with: 'ab12' '{\"pw\": \"secret-hash\"}'"
    problem = outage(E.ResponseError(reply))
    assert str(problem) == (
        "the store returned an error: unknown command 'EVALSHA': "
        "it runs no scripts: use Redis 6.2 or newer, without a proxy"
    )
    assert len(str(outage(E.ResponseError("x" * 5000 + "\nmore")))) < 200


def test_only_exceptions_of_our_own_are_bugs():
    assert outage(ValueError("x")) is None
    assert outage(KeyError("x")) is None


def test_a_send_on_a_connection_closed_by_uvloop_is_an_outage():
    async def send():
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        try:
            writer.writelines([b"PING"])
        finally:
            server.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, pytest.raises(RuntimeError) as raised:
        runner.run(send())
    assert isinstance(outage(raised.value), StoreUnavailableError)


async def test_a_store_out_of_memory_refuses_and_says_so(real_town):
    admin = await real_town.account()
    await real_town.store.change("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(StoreUnavailableError, match=r"OOM|OutOfMemory"):
            await real_town.users.change(OPERATOR, admin.id, name="New")
        assert await real_town.users.record(admin.id) == admin  # checks go on
    finally:
        await real_town.store.change("CONFIG", "SET", "maxmemory", "0")


@pytest.mark.parametrize("confirm", [0, 1])
async def test_a_store_without_its_replicas_refuses_writes(real_town, confirm):
    admin = await real_town.account()
    real_town.store.confirm_replicas = confirm
    await real_town.store.change("CONFIG", "SET", "min-replicas-to-write", "1")
    try:
        with pytest.raises(StoreUnavailableError) as refused:
            await real_town.users.change(OPERATOR, admin.id, name="New")
        assert refused.value.refused
    finally:
        await real_town.store.change("CONFIG", "SET", "min-replicas-to-write", "0")


async def test_more_calls_than_connections_wait_their_turn(real_town):
    admin = await real_town.account()
    found = await asyncio.gather(*(real_town.users.record(admin.id) for _ in range(500)))
    assert found == [admin] * 500


# Owner of the store ---------------------------------------------------------------------------------------------------

OURS = {"issuer": "https://id.example", "audience": "dashboard"}


async def test_the_first_start_makes_the_record_and_the_next_agrees(bare_store):
    await bare_store.check_meta(**OURS, pepper="p1")
    data_set = await bare_store.command("GET", f"{keys.feed(0)}:gen")
    await bare_store.check_meta(**OURS, pepper="p1")

    assert data_set
    assert await bare_store.command("GET", f"{keys.feed(0)}:gen") == data_set
    meta = dict(await bare_store.pairs("HGETALL", keys.META))
    assert (meta["schema"], meta["P"], meta["issuer"], meta["demo"]) == (SCHEMA, "1", "https://id.example", "0")


@pytest.mark.parametrize("field", ["issuer", "audience"])
async def test_R22_another_issuer_or_audience_is_rejected_naming_both(bare_store, field):
    await bare_store.check_meta(**OURS)

    with pytest.raises(StoreMismatchError) as refused:
        await bare_store.check_meta(**{**OURS, field: "https://other.example"})

    assert OURS[field] in str(refused.value)
    assert "https://other.example" in str(refused.value)
    assert f"SIDECAR_{field.upper()}" in str(refused.value)
    await bare_store.check_meta(**OURS)


async def test_R22_without_an_issuer_none_is_set_or_compared(bare_store):
    await bare_store.check_meta()
    await bare_store.check_meta(**OURS)
    await bare_store.check_meta()
    with pytest.raises(StoreMismatchError):
        await bare_store.check_meta(issuer="https://other.example")


@pytest.mark.parametrize("first", [True, False])
async def test_R23_demo_and_real_stores_never_mix(bare_store, first):
    await bare_store.check_meta(**OURS, demo=first)
    with pytest.raises(StoreMismatchError, match="demo"):
        await bare_store.check_meta(**OURS, demo=not first)


async def test_another_pepper_is_refused(bare_store):
    await bare_store.check_meta(**OURS, pepper="p1")
    with pytest.raises(StoreMismatchError, match="pepper"):
        await bare_store.check_meta(**OURS, pepper="p2")


async def test_a_newer_schema_is_refused(bare_store):
    await bare_store.check_meta(**OURS)
    await bare_store.change("HSET", keys.META, "schema", "4")
    with pytest.raises(StoreMismatchError, match="schema 4"):
        await bare_store.check_meta(**OURS)


async def test_of_two_concurrent_starts_with_two_issuers_one_fails(real_redis_url):
    stores = [await Store.open(real_redis_url, **PATIENT) for _ in range(2)]
    outcomes = await asyncio.gather(
        *(store.check_meta(issuer=f"https://{number}.example") for number, store in enumerate(stores)),
        return_exceptions=True,
    )
    for store in stores:
        await store.close()
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["StoreMismatchError", "tuple"]


# Configuration of the server ------------------------------------------------------------------------------------------


async def configured(store, name, value, expect):
    before = (await store.command("CONFIG", "GET", name))[1]
    await store.change("CONFIG", "SET", name, value)
    try:
        return await expect()
    finally:
        await store.change("CONFIG", "SET", name, before)


async def test_a_store_that_evicts_is_refused(real_town):
    async def expect():
        with pytest.raises(StoreMismatchError, match="noeviction"):
            await real_town.store.check_meta(**OURS)

    await configured(real_town.store, "maxmemory-policy", "allkeys-lru", expect)


@pytest.mark.parametrize(
    ("name", "value", "warning"),
    [("appendfsync", "everysec", "everysec"), ("appendonly", "no", "append-only file")],
)
async def test_a_store_that_may_lose_what_it_acknowledged_is_a_warning(real_town, name, value, warning):
    async def expect():
        return await real_town.store.check_meta(**OURS)

    (said,) = await configured(real_town.store, name, value, expect)
    assert warning in said


async def test_a_well_kept_store_has_no_warning(real_town):
    assert await real_town.store.check_meta(**OURS) == ()


@pytest.mark.parametrize(
    ("info", "config", "says"),
    [
        ({"role": "slave"}, {}, "replica"),
        ({"redis_version": "5.0.14"}, {}, "6.2"),
        ({"connected_slaves": "1"}, {"min-replicas-to-write": "0"}, "min-replicas-to-write"),
    ],
)
async def test_R31_a_store_that_could_undo_revocations_is_rejected(bare_store, monkeypatch, info, config, says):
    pretend(bare_store, monkeypatch, info, config)
    with pytest.raises(StoreMismatchError, match=says):
        await bare_store.check_meta(**OURS)


async def test_R31_with_enough_replicas_they_confirm_every_change(real_town, monkeypatch):
    pretend(real_town.store, monkeypatch, {"connected_slaves": "2"}, {"min-replicas-to-write": "1"})
    await real_town.store.check_meta(**OURS)
    assert real_town.store.confirm_replicas == 1


async def test_what_a_managed_store_hides_is_said(bare_store, monkeypatch):
    pretend(bare_store, monkeypatch, {"connected_slaves": "2"}, {})
    warnings = await bare_store.check_meta(**OURS)
    assert any("appendfsync" in warning for warning in warnings)
    assert any("min-replicas-to-write" in warning for warning in warnings)


def pretend(store, monkeypatch, info, config):
    """A server with this reported configuration."""
    whole = {"role": "master", "redis_version": "7.0.0", "aof_enabled": "1", **info}

    class Pretended:
        async def command(self, *words):
            if words[0] == "INFO":
                return "# Server\r\n" + "\r\n".join(f"{name}:{value}" for name, value in whole.items())
            if words[2] not in config:
                raise redis.exceptions.ResponseError("unknown command 'CONFIG'")
            return [words[2], config[words[2]]]

    async def servers():
        return [Pretended()]

    monkeypatch.setattr(store, "servers", servers)


async def test_a_write_unconfirmed_by_replicas_is_done_and_not_durable(real_town):
    admin = await real_town.account()
    real_town.store.confirm_replicas = 1

    changed = await real_town.users.change(OPERATOR, admin.id, name="New")

    assert isinstance(changed, Changed)
    assert not changed.position.durable


# Scripts --------------------------------------------------------------------------------------------------------------


def test_every_script_loads_and_names_no_global():
    for name in scripts.names():
        text = scripts.script(name).text
        assert not [line for line in text.splitlines() if line.startswith("function ")], name


def test_the_scripts_know_the_administrator_by_the_products_word():
    assert f"local ADMIN = '{ADMINISTRATOR}'" in scripts.script("invite").text


async def test_every_script_leaves_no_global_behind(store):
    """A global would break every later script of the server."""
    for name in scripts.names():
        script = scripts.script(name)
        try:
            await store.run(name, ["{x}:feed", "{x}:a"], ["{}", "1", "{}"])
        except redis.exceptions.ResponseError as error:
            assert "global" not in str(error), name
        except (StoreUnavailableError, json.JSONDecodeError, TypeError):
            pass
        assert script.sha
    assert await Users(store).record("usr_aaaaaaaaaaaa_bbbbbbbbbbbb") is None
