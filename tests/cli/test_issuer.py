"""`sidecar issuer change`, and the doctor's check for the need of it (R22)."""

import json
from typing import Any

import pytest
import redis

OLD, NEW = "http://127.0.0.1:9181", "https://dashboard.acme.example"


@pytest.fixture
def served(at_store: Any, real_redis_url: str) -> "redis.Redis":
    """A store after its first start, with a session of its administrator."""
    client = redis.Redis(unix_socket_path=real_redis_url.removeprefix("unix://"), decode_responses=True)
    client.hset("sc:meta", mapping={"issuer": OLD, "audience": "dashboard"})
    (home,) = client.keys("sc:{p00}:a:*:u:*")
    account, _, uid = home.rpartition(":u:")
    client.zadd(f"{account}:us:{uid}", {"sid": 99999999999999})
    client.hset(f"{account}:s:sid", mapping={"u": uid, "tv": "1"})
    yield client
    client.close()


def rows(at_store: Any, *flags: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in at_store("audit", "export", *flags).out.splitlines()]


def test_R22_the_change_ends_every_session_and_is_audited(at_store: Any, served: Any) -> None:
    (home,) = served.keys("sc:{p00}:a:*:u:*")
    before = int(served.hget(home, "tv"))
    done = at_store("issuer", "change", NEW, "--json")
    assert done.status == 0, done.err
    assert json.loads(done.out) == {"issuer": NEW, "before": OLD, "accounts": 1, "signed_out": 1}
    assert done.err == f"start the sidecars with SIDECAR_ISSUER={NEW}\n"
    assert served.hget("sc:meta", "issuer") == NEW
    assert int(served.hget(home, "tv")) == before + 1
    assert served.keys("sc:{p00}:a:*:s:*") == []
    changed = [row for row in rows(at_store, "--system") if row["action"] == "issuer.changed"]
    assert [(row["before"], row["after"]) for row in changed] == [({"issuer": OLD}, {"issuer": NEW})]
    assert "user.signed_out" in {row["action"] for row in rows(at_store, "--account", "Acme")}
    assert at_store("fsck").status == 0
    again = at_store("issuer", "change", NEW)
    assert (again.status, again.out) == (1, "")
    assert "already" in again.err


def test_R22_a_change_that_was_interrupted_is_run_again(
    at_store: Any, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:

        async def dies(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        broken.setattr("sidecar.store.audit.Audit.note", dies)
        assert at_store("issuer", "change", NEW).status == 130
    assert served.hget("sc:meta", "issuer") == OLD
    assert served.keys("sc:{p00}:a:*:s:*") == [], "sessions first"
    assert at_store("issuer", "change", NEW).status == 0
    assert served.hget("sc:meta", "issuer") == NEW


def test_R22_no_change_while_a_sidecar_serves(at_store: Any, served: Any) -> None:
    seconds, _ = served.time()
    served.zadd("sc:{p00}:side", {"east-1": (seconds + 60) * 1000})
    done = at_store("issuer", "change", NEW)
    assert (done.status, done.out) == (1, "")
    assert "east-1" in done.err
    assert served.hget("sc:meta", "issuer") == OLD
    assert len(served.keys("sc:{p00}:a:*:s:*")) == 1


@pytest.mark.parametrize("new", ["dashboard.acme.example", "", "ftp://acme.example", "https://", "https://a b"])
def test_R22_what_could_not_be_the_setting_is_wrong_usage(at_store: Any, served: Any, new: str) -> None:
    done = at_store("issuer", "change", new)
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert served.hget("sc:meta", "issuer") == OLD


def test_R22_a_store_that_never_served_has_no_issuer_to_change(at_store: Any) -> None:
    done = at_store("issuer", "change", NEW)
    assert (done.status, done.out) == (1, "")
    assert "SIDECAR_ISSUER" in done.err


def faults(done: Any) -> list[str]:
    return [one["detail"] for one in json.loads(done.out) if (one["check"], one["status"]) == ("store", "fault")]


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--public-url", NEW), ["issuer", NEW, OLD, f"sidecar issuer change {NEW}", "SIDECAR_ISSUER"]),
        (("--issuer", NEW), ["issuer", NEW, OLD, f"sidecar issuer change {NEW}"]),
        (("--audience", "billing"), ["audience", "'billing'", "'dashboard'", "SIDECAR_AUDIENCE"]),
        (("--keys-dir", "others"), ["pepper", "SIDECAR_KEYS_DIR"]),
    ],
    ids=["public URL", "issuer", "audience", "pepper"],
)
@pytest.mark.usefixtures("served")
def test_R22_doctor_finds_what_the_store_was_made_with_otherwise(at_store: Any, flags: Any, named: list[str]) -> None:
    assert at_store("doctor", "--json").status == 0
    done = at_store("doctor", "--json", *flags)
    assert done.status == 1
    (said,) = faults(done)
    for word in named:
        assert word in said


@pytest.mark.usefixtures("served")
def test_R22_doctor_names_each_of_several(at_store: Any) -> None:
    assert len(faults(at_store("doctor", "--json", "--issuer", NEW, "--audience", "billing"))) == 2


def test_R22_doctor_sets_nothing(at_store: Any, real_redis_url: str) -> None:
    assert at_store("doctor").status == 0
    with redis.Redis(unix_socket_path=real_redis_url.removeprefix("unix://"), decode_responses=True) as client:
        assert set(client.hgetall("sc:meta")) == {"schema", "P", "demo", "pepper"}
