"""``sidecar user suspend``, ``resume``, ``sessions``, and ``invite --password-stdin``."""

import asyncio
import json
from typing import Any

import pytest

from sidecar.store.connection import Store
from sidecar.store.sessions import NewSession, Opened, Sessions
from sidecar.store.users import Users
from tests.cli.test_users import INVITE, users
from tests.conftest import PATIENT

PASSWORD = "velvet-anchor-pigeon-77"


def create(at_store: Any, typed: Any, *more: str) -> Any:
    typed(PASSWORD + "\n")
    return at_store(*INVITE, "--name", "Bob", "--password-stdin", *more)


def at_users(redis_url: str, job: Any) -> Any:
    """Run ``job(store)`` on the store of the command."""

    async def run() -> Any:
        store = await Store.open(redis_url, **PATIENT)
        try:
            return await job(store)
        finally:
            await store.close()

    return asyncio.run(run())


def rows(at_store: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in at_store("audit", "export").out.splitlines()]


def test_R9_a_first_password_makes_an_active_unverified_user(at_store: Any, typed: Any, real_redis_url: str) -> None:
    done = create(at_store, typed, "--json")
    assert (done.status, done.err) == (0, "")
    made = json.loads(done.out)
    assert set(made) == {"user"}
    assert (made["user"]["status"], made["user"]["role"], made["user"]["name"]) == ("active", "accountant", "Bob")
    bob = users(at_store)["bob@acme.example"]
    assert (bob["email_verified"], bob["inviter"], bob["invite_expires_at"]) == (False, None, None)
    found = at_users(real_redis_url, lambda store: Users(store).credentials_of(bob["id"]))
    assert found.password_hash.startswith("$argon2id$")
    assert not found.reset_required
    (row,) = [row for row in rows(at_store) if row["target"] == bob["id"]]
    assert (row["action"], row["actor"], row["target_name"]) == ("user.created", "", "Bob")
    assert PASSWORD not in json.dumps(rows(at_store))
    fsck = at_store("fsck")
    assert (fsck.status, fsck.err) == (0, ""), fsck.out


def test_a_first_password_takes_a_seat_like_an_invitation(at_store: Any, typed: Any) -> None:
    at_store("account", "set-seats", "Acme", "2")
    assert create(at_store, typed).status == 0
    typed(PASSWORD)
    done = at_store("user", "invite", "eve@acme.example", "--role", "marketer", "--password-stdin")
    assert (done.status, done.out) == (1, "")
    assert "no seat is free" in done.err
    assert set(users(at_store)) == {"ada@acme.example", "bob@acme.example"}
    done = create(at_store, typed)
    assert done.status == 1
    assert "is a member already" in done.err


@pytest.mark.parametrize(
    ("secret", "argv", "part"),
    [
        ("short", (), "weak password"),
        ("bob@acme.example-1", (), "weak password"),
        ("", (), "no password on standard input"),
        (PASSWORD, ("--name", "a\nb"), "one line of at most 100 visible characters"),
        (PASSWORD, ("--role", "acountant"), "did you mean accountant?"),
    ],
)
def test_a_first_password_that_is_refused(at_store: Any, typed: Any, secret: str, argv: Any, part: str) -> None:
    typed(secret)
    done = at_store(*INVITE, "--password-stdin", *argv)
    assert (done.status, done.out) == (2, "")
    assert part in done.err
    assert secret == "" or secret not in done.err
    assert set(users(at_store)) == {"ada@acme.example"}


def test_an_invitation_with_a_broken_name_is_refused(at_store: Any) -> None:
    done = at_store(*INVITE, "--name", "Bob\x1b[31m")
    assert done.status == 2
    assert set(users(at_store)) == {"ada@acme.example"}


def test_suspend_ends_the_sessions_and_resume_returns(at_store: Any, typed: Any, real_redis_url: str) -> None:
    create(at_store, typed)
    uid = users(at_store)["bob@acme.example"]["id"]
    opened = open_session(real_redis_url, uid)
    done = at_store("user", "suspend", "Bob@acme.example", "--account", "Acme")
    assert (done.status, done.out, done.err) == (0, "bob@acme.example is suspended\n", "")
    assert users(at_store)["bob@acme.example"]["status"] == "suspended"
    assert opened not in at_store("user", "sessions", uid).out
    done = at_store("user", "resume", uid, "--json")
    assert json.loads(done.out)["status"] == "active"
    assert at_store("user", "resume", uid).out == "bob@acme.example is active\n"  # already
    changes = [row for row in rows(at_store) if row["action"] == "user.changed"]
    assert [row["after"]["status"] for row in changes] == ["suspended", "active"]
    assert {(row["actor"], row["address"]) for row in changes} == {("", "cli")}


def test_suspend_works_without_a_valid_policy(at_store: Any, typed: Any, tmp_path: Any, monkeypatch: Any) -> None:
    create(at_store, typed)
    (tmp_path / "policy").mkdir()
    monkeypatch.setenv("SIDECAR_POLICY_DIR", str(tmp_path / "policy"))
    for verb in ("suspend", "resume", "sessions"):
        assert at_store("user", verb, "bob@acme.example").status == 0


def open_session(redis_url: str, uid: Any) -> str:
    sid: Any = "ses_" + "a" * 26
    session = NewSession(sid, ttl=600, address="192.0.2.7", agent="Firefox\x1b[31m")
    opened = at_users(redis_url, lambda store: Sessions(store).open(uid, expected_epoch=1, session=session))
    assert isinstance(opened, Opened)
    return str(sid)


def test_sessions_lists_the_live_ones(at_store: Any, typed: Any, real_redis_url: str) -> None:
    create(at_store, typed)
    assert at_store("user", "sessions", "bob@acme.example").out == "0 live sessions\n"
    sid = open_session(real_redis_url, users(at_store)["bob@acme.example"]["id"])
    lines = at_store("user", "sessions", "bob@acme.example").out.splitlines()
    assert lines[0].split()[:3] == ["ID", "ADDRESS", "BROWSER"]
    assert lines[1].split()[:2] == [sid, "192.0.2.7"]
    assert "\x1b" not in lines[1]
    assert lines[2] == "1 live session"
    (shown,) = json.loads(at_store("user", "sessions", "bob@acme.example", "--json").out)["sessions"]
    assert (shown["id"], shown["current"], shown["address"]) == (sid, False, "192.0.2.7")
    assert users(at_store)["bob@acme.example"]["sessions"] == 1


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (("suspend", "ada@acme.example"), "last active Account Administrator"),
        (("suspend", "bob@acme.example"), "has not accepted the invitation yet"),
        (("resume", "bob@acme.example"), "has not accepted the invitation yet"),
        (("sessions", "bob@acme.example"), "has not accepted the invitation yet"),
        (("suspend", "who@acme.example"), "no user"),
        (("sessions", "usr_aaaaaaaaaaaa_aaaaaaaaaaaa"), "no user"),
        (("resume", "ada@acme.example", "--account", "Nobody"), "no account 'Nobody'"),
    ],
)
def test_status_verbs_that_are_refused(at_store: Any, argv: tuple[str, ...], part: str) -> None:
    at_store(*INVITE)
    done = at_store("user", *argv)
    assert (done.status, done.out) == (1, "")
    assert part in done.err
    assert done.err.count("\n") == 1
