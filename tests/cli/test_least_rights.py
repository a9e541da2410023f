"""Every verb that uses the store runs with the least rights of the documentation; doctor names missing ones."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
import redis

from sidecar.cli import main
from sidecar.sources.policy_files import packaged
from tests.store.test_acl_permissions import LINE

pytestmark = pytest.mark.slow

_NO_STORE = """
demo serve init health config version token-inspect keys-list
policy-check policy-test policy-matrix policy-diff policy-fmt policy-watch policy-status policy-replay policy-expect
policy-lsp policy-keygen policy-sign
"""
ISS = "https://login.example"
NO_STORE = frozenset(_NO_STORE.split())
"""Verbs that read files or query a running sidecar; `serve` has its own tests."""


@pytest.fixture
def admin(_real_server: str) -> Iterator["redis.Redis"]:
    with redis.Redis(unix_socket_path=_real_server.removeprefix("unix://"), decode_responses=True) as client:
        client.flushall()
        client.execute_command("ACL", "SETUSER", "sidecar", "reset", "on", ">s3cret", "~sc:*", "resetchannels", *LINE)
        client.execute_command("ACL", "LOG", "RESET")
        yield client
        client.execute_command("ACL", "DELUSER", "sidecar")


@pytest.fixture
def real_redis_url(admin: "redis.Redis", _real_server: str) -> str:
    return _real_server.replace("unix://", "unix://sidecar:s3cret@")


def verbs() -> set[str]:
    (root,) = [value for value in vars(main).values() if isinstance(value, click.Group)]
    found = set()
    context = click.Context(root)
    for noun in root.list_commands(context):
        command = root.get_command(context, noun)
        below = command.list_commands(click.Context(command)) if isinstance(command, click.Group) else [""]
        found |= {f"{noun}-{verb}".strip("-") for verb in below}
    return found - NO_STORE


def refused(admin: "redis.Redis") -> list[str]:
    """Return the commands that the server denied, without those that redis-py sends on a new connection."""
    return [str(one["object"]) for one in admin.acl_log() if "client" not in str(one["object"]).lower()]


def add_waiting_factor(admin: "redis.Redis") -> None:
    """Give the only user a second factor that does not count yet (R37)."""
    ((home, user),) = [key.split(":u:") for key in admin.keys("*:u:*")]
    factor, tomorrow_ms = f"totp_{'a' * 16}", 4_000_000_000_000
    admin.hset(f"{home}:factors:{user}", factor, tomorrow_ms)
    admin.hset(f"{home}:f:{factor}", mapping={"u": user, "sealed": "x", "name": "Phone", "created": "1", "step": "1"})


def test_every_verb_runs_with_the_least_rights(
    at_store: Callable[..., object],
    admin: "redis.Redis",
    tmp_path: Path,
) -> None:
    done = set()

    def runs(*words: str, status: int = 0) -> str:
        outcome = at_store(*words)
        assert outcome.status == status, f"{words}: {outcome.out}{outcome.err}"
        done.add("-".join(words[:2]) if "-".join(words[:2]) in verbs() else words[0])
        return outcome.out

    runs("account", "list")
    runs("account", "show", "Acme")
    runs("account", "set-seats", "Acme", "7")
    runs("account", "label", "Acme", "plan=pro")
    runs("account", "label", "Acme", "plan=")
    runs("account", "suspend", "Acme")
    runs("account", "resume", "Acme")
    runs("user", "invite", "bob@acme.example", "--role", "marketer", "--account", "Acme")
    shutil.copytree(packaged()[0], tmp_path / "policy")
    shutil.copy(packaged()[1], tmp_path)
    for old, new in (("marketer", "brand-manager"), ("brand-manager", "marketer")):
        runs("policy", "rename", "role", old, new, status=1)
        runs("policy", "rename", "role", old, new, "--in-store")
    runs("policy", "apply", str(tmp_path / "policy"), status=1)  # no sidecar is live
    runs("policy", "history")
    runs("policy", "export", "0" * 32, str(tmp_path / "exported"), status=1)
    runs("user", "list", "--account", "Acme")
    runs("user", "set-role", "bob@acme.example", "developer", "--account", "Acme")
    runs("user", "suspend", "bob@acme.example", "--account", "Acme", status=1)  # still invited
    runs("user", "resume", "ada@acme.example", "--account", "Acme")
    runs("user", "sessions", "ada@acme.example", "--account", "Acme")
    runs("user", "review", "--account", "Acme")
    runs("user", "review", "--account", "Acme", "--all-as-stored")
    runs("user", "remove", "bob@acme.example", "--account", "Acme")
    runs("user", "reset-password", "ada@acme.example", "--account", "Acme")
    add_waiting_factor(admin)
    runs("user", "confirm-factor", "ada@acme.example", "--account", "Acme")
    runs("user", "reset-factors", "ada@acme.example", "--account", "Acme")
    runs("pep", "create", "nginx", "--account", "Acme")
    runs("pep", "list", "--account", "Acme")
    runs("pep", "revoke", re.findall(r"pep_\w+", runs("pep", "list", "--account", "Acme"))[0], "--account", "Acme")
    runs("policy", "can", "ada@acme.example", "users", "manage", "--account", "Acme")
    cell = '"role": "marketer", "section": "billing", "action": "view"'
    (tmp_path / "log").write_text(f'{{"decision": false, "reason": "no_rule", {cell}}}\n')
    runs("policy", "usage", str(tmp_path / "log"), "--account", "Acme")
    runs("policy", "explain", "ada@acme.example", "users", "manage", "--account", "Acme")
    runs("user", "link", "ada@acme.example", "--issuer", ISS, "--subject", "s-1", "--account", "Acme")
    runs("user", "unlink", "ada@acme.example", "--issuer", ISS, "--account", "Acme")
    rotated = json.loads(runs("keys", "rotate", "--json"))
    runs("keys", "revoke", rotated["retired"], "--json")
    runs("audit", "export", "--account", "Acme")
    runs("audit", "verify")
    runs("fsck")
    runs("fsck", "--repair")
    runs("backup", str(tmp_path / "acme.backup"))
    runs("restore", str(tmp_path / "acme.backup"))
    runs("migrate")
    runs("doctor")
    runs("account", "delete", "Acme", "--yes")
    for home in ("sc:meta", "sc:{p00}:meta"):
        admin.hset(home, "issuer", "https://old.example")
    runs("issuer", "change", "https://new.example")
    assert refused(admin) == []
    assert verbs() - done == {"account-create"}, "run by the fixture"


@pytest.mark.parametrize("right", ["xadd", "hset", "evalsha", "wait"])
def test_doctor_names_a_right_that_is_missing(
    at_store: Callable[..., object], admin: "redis.Redis", right: str
) -> None:
    admin.execute_command("ACL", "SETUSER", "sidecar", f"-{right}")
    outcome = at_store("doctor", "--json")
    said = [one for one in json.loads(outcome.out) if one["check"] == "rights"]
    assert any(right in one["detail"] and f"+{right}" in one["detail"] for one in said), outcome.out
    assert outcome.status == (0 if right == "wait" else 1)
    assert any(one["status"] == ("warning" if right == "wait" else "fault") for one in said)
