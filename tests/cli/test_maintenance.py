"""``fsck``, ``backup``, ``restore``, ``migrate``, and archived accounts, on a real store."""

import base64
import hashlib
import json
import stat
import time
from pathlib import Path
from typing import Any

import redis


def client(url: str) -> "redis.Redis":
    return redis.Redis(unix_socket_path=url.removeprefix("unix://"), decode_responses=True)


def dump(url: str) -> dict[Any, Any]:
    """Return every key's bytes."""
    with redis.Redis(unix_socket_path=url.removeprefix("unix://")) as redis_:
        return {key: redis_.dump(key) for key in redis_.keys("*")}


def test_fsck_of_a_healthy_store_is_clean(at_store: Any) -> None:
    done = at_store("fsck")
    assert (done.status, done.err) == (0, "")
    assert done.out == "clean: 1 accounts, 1 users, 0 invited\n"
    assert json.loads(at_store("fsck", "--json").out)["clean"] is True


def test_fsck_finds_what_is_wrong_and_repairs_an_index(at_store: Any, real_redis_url: str) -> None:
    with client(real_redis_url) as redis_:
        (index,) = redis_.keys("sc:{p00}:a:*:em")
        redis_.delete(index)
    found = at_store("fsck", "--json")
    assert found.status == 1
    report = json.loads(found.out)
    assert report["clean"] is False
    assert {finding["fault"] for finding in report["findings"]} == {"email_index"}
    assert at_store("fsck").status == 1
    assert at_store("fsck", "--repair").status == 0
    assert at_store("fsck").status == 0


def test_R24_a_backup_is_private_keyless_and_raises_epochs(at_store: Any, real_redis_url: str, tmp_path: Path) -> None:
    at_store("user", "invite", "bob@acme.example", "--role", "marketer")
    file = tmp_path / "all.backup"
    done = at_store("backup", str(file), "--json")
    assert done.status == 0
    assert json.loads(done.out)["accounts"] == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secrets = [path.read_bytes() for path in (tmp_path / ".sidecar" / "keys").iterdir() if path.is_file()]
    assert len(secrets) >= 2, "a signing key and the pepper"
    written = file.read_bytes()
    for secret in secrets:
        body = b"".join(line for line in secret.splitlines() if not line.startswith(b"-----"))
        spelled = {body, body.hex().encode(), base64.b64encode(body), base64.urlsafe_b64encode(body).rstrip(b"=")}
        assert not [one for one in spelled if one and one in written]
    with client(real_redis_url) as redis_:
        (key,) = [key for key in redis_.keys("sc:{p00}:a:*:u:*")]
        before = int(redis_.hget(key, "tv") or 0)
        redis_.flushall()
    restored = at_store("restore", str(file))
    assert restored.status == 0, restored.err
    with client(real_redis_url) as redis_:
        assert int(redis_.hget(key, "tv") or 0) > before
    listed = at_store("user", "list", "--account", "Acme")
    assert "ada@acme.example" in listed.out
    assert "bob@acme.example" in listed.out
    assert at_store("fsck").status == 0


def test_fsck_and_backup_count_invited_users(at_store: Any, tmp_path: Path) -> None:
    """An invited user holds a seat: a summary without them has fewer users than `user list`."""
    at_store("user", "invite", "bob@acme.example", "--role", "marketer")
    assert at_store("fsck").out == "clean: 1 accounts, 1 users, 1 invited\n"
    assert json.loads(at_store("fsck", "--json").out)["invited"] == 1
    file = tmp_path / "all.backup"
    assert at_store("backup", str(file)).out == f"{file}: 1 accounts, 1 users, 1 invited\n"
    assert json.loads(at_store("backup", str(file), "--json").out)["invited"] == 1


def test_a_crafted_backup_changes_nothing_and_names_the_line(
    at_store: Any, real_redis_url: str, tmp_path: Path
) -> None:
    """The closing hash is right, because it is no secret."""
    file = tmp_path / "all.backup"
    at_store("backup", str(file))
    for old, new, said in (
        (b'"tv","1"', b'"tv","abc"', "tv is 'abc'"),
        (b'"account-administrator"', b'"god"', "the policy does not declare"),
        (b'"account-administrator"', b'"marketer"', "no_administrator"),
        (b'"ada@acme.example"', b'"Ada@acme.example"', "normal form"),
    ):
        at_store("backup", str(file))
        *lines, _ = file.read_bytes().splitlines(keepends=True)
        body = b"".join(lines)
        assert old in body
        body = body.replace(old, new)
        end = {"end": "sidecar-backup/1", "accounts": 1, "sha256": hashlib.sha256(body).hexdigest()}
        file.write_bytes(body + json.dumps(end).encode() + b"\n")
        before = dump(real_redis_url)
        refused = at_store("restore", str(file))
        assert refused.status == 1
        assert f"{file}:2: " in refused.err
        assert said in refused.err
        assert refused.err.count("\n") == 1
        assert dump(real_redis_url) == before


def test_R31_a_restore_waits_for_the_end_of_old_copies(at_store: Any, real_redis_url: str, tmp_path: Path) -> None:
    """Beside a running sidecar that has a lease of three seconds and applies nothing."""
    file = tmp_path / "all.backup"
    assert at_store("backup", str(file)).status == 0
    with client(real_redis_url) as redis_:
        seconds, micros = redis_.time()
        redis_.zadd("sc:{p00}:side", {"late": seconds * 1000 + micros // 1000 + 60_000})
        redis_.hset("sc:{p00}:side:lease", "late", 3000)
        began = time.monotonic()
        assert at_store("restore", str(file)).status == 0
        assert time.monotonic() - began >= 3.0


def test_a_damaged_backup_changes_nothing(at_store: Any, tmp_path: Path) -> None:
    file = tmp_path / "all.backup"
    at_store("backup", str(file))
    file.write_bytes(file.read_bytes()[:-20])
    refused = at_store("restore", str(file))
    assert refused.status == 1
    assert str(file) in refused.err
    assert refused.err.count("\n") == 1


def test_a_backup_that_cannot_be_written_is_one_line(at_store: Any, tmp_path: Path) -> None:
    refused = at_store("backup", str(tmp_path / "nowhere" / "x"))
    assert refused.status == 2
    assert "nowhere" in refused.err


def test_a_backup_on_standard_output_is_the_backup_alone(at_store: Any, tmp_path: Path) -> None:
    done = at_store("backup", "-")
    assert (done.status, done.err) == (0, "1 accounts, 1 users, 0 invited\n")
    assert not (tmp_path / "-").exists()
    file = tmp_path / "piped"
    file.write_text(done.out, encoding="utf-8")
    assert at_store("restore", str(file)).out == f"{file}: 1 accounts, 1 users restored\n"
    spoken = at_store("backup", "-", "--json")
    assert json.loads(spoken.err) == {"file": "-", "accounts": 1, "users": 1, "invited": 0}
    assert json.loads(spoken.out.splitlines()[0])["backup"]


def test_a_backup_on_a_link_is_wrong_usage_and_leaves_the_link(at_store: Any, tmp_path: Path) -> None:
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")
    refused = at_store("backup", str(tmp_path / "stdout"))
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert "`-` for standard output" in refused.err
    assert (tmp_path / "stdout").is_symlink()


def test_migrate_says_that_there_is_nothing_to_do(at_store: Any) -> None:
    done = at_store("migrate")
    assert done.status == 0
    assert "nothing to migrate" in done.out


def test_suspend_and_resume(at_store: Any) -> None:
    assert at_store("account", "suspend", "Acme").out == "Acme is suspended\n"
    assert json.loads(at_store("account", "show", "Acme", "--json").out)["status"] == "suspended"
    assert at_store("account", "resume", "Acme").out == "Acme is active\n"


def test_delete_asks_first_and_takes_everybody(at_store: Any, typed: Any) -> None:
    typed("n\n")
    assert at_store("account", "delete", "Acme").status == 130
    done = at_store("account", "delete", "Acme", "--yes")
    assert (done.status, done.out) == (0, "Acme is deleted, with 1 users\n")
    assert json.loads(at_store("account", "list", "--json").out) == []
    assert at_store("fsck").status == 0
