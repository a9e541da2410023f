"""A store that does not exist: reading verbs do not create one, and writing verbs do not create one by accident."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.ports import free_port

GOOD = "five green bottles on a wall\n"
CREATE = ("account", "create", "Beta", "--admin-email", "b@beta.example", "--password-stdin")
READING = [
    ("account", "list"),
    ("account", "show", "Acme"),
    ("account", "set-seats", "Acme", "7"),
    ("account", "suspend", "Acme"),
    ("account", "delete", "Acme", "--yes"),
    ("user", "list"),
    ("user", "invite", "bob@acme.example", "--role", "marketer"),
    ("user", "set-role", "bob@acme.example", "marketer"),
    ("user", "remove", "bob@acme.example"),
    ("user", "reset-password", "bob@acme.example"),
    ("user", "unlink", "bob@acme.example"),
    ("user", "link", "bob@acme.example", "--issuer", "https://id.example", "--subject", "s-1"),
    ("pep", "create", "reports"),
    ("pep", "list"),
    ("pep", "revoke", "reports"),
    ("keys", "list"),
    ("keys", "revoke", "A" * 43),
    ("audit", "export"),
    ("audit", "verify"),
    ("fsck",),
    ("fsck", "--repair"),
    ("backup", "all.backup"),
    ("backup", "-"),
    ("migrate",),
    ("issuer", "change", "https://id.example"),
    ("policy", "can", "b@beta.example", "billing", "view"),
]


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("words", READING, ids=" ".join)
@pytest.mark.parametrize("named", [False, True])
def test_only_what_fills_a_store_makes_one(cli: Any, tmp_path: Path, words: tuple[str, ...], named: bool) -> None:
    flags = ("--state-dir", str(tmp_path / "elsewhere")) if named else ()
    done = cli(*words, *flags)
    assert (done.status, done.out) == (2, "")
    notes = words[0] == "policy" or words[:2] == ("user", "link")  # the packaged policy; no list of issuers
    assert done.err.count("\n") == (2 if notes else 1), done.err
    if words != ("keys", "list"):
        assert f"there is no store in {tmp_path / ('elsewhere' if named else '.sidecar')}/store" in done.err
        assert "SIDECAR_STATE_DIR" in done.err
    assert left(tmp_path) == []


def test_an_empty_redis_stays_empty(cli: Any, real_redis_url: str, tmp_path: Path) -> None:
    for words in (("account", "list"), ("user", "invite", "b@beta.example", "--role", "marketer"), ("fsck",)):
        done = cli(*words, "--redis-url", real_redis_url)
        assert (done.status, done.out) == (2, "")
        assert "there is no store in" in done.err
    with redis.Redis(unix_socket_path=real_redis_url.removeprefix("unix://")) as client:
        assert client.keys("*") == []
    assert left(tmp_path) == []


def test_keys_are_not_made_for_a_store_that_has_others(at_store: Any, typed: Any, tmp_path: Path) -> None:
    for words in (("account", "list"), CREATE):
        typed(GOOD)
        done = at_store(*words, "--keys-dir", str(tmp_path / "others"))
        assert (done.status, done.out) == (2, "")
        assert "SIDECAR_KEYS_DIR" in done.err
        assert not (tmp_path / "others").exists()


@pytest.mark.parametrize(
    "words",
    [CREATE, ("restore", "all.backup"), ("keys", "rotate")],
    ids=["account create", "restore", "keys rotate"],
)
def test_a_new_store_needs_a_flag_before_a_password_is_read(
    cli: Any, tmp_path: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "all.backup").touch()
    monkeypatch.setattr("sidecar.cli.accounts.read_password", lambda **_: pytest.fail("a password was asked for"))
    done = cli(*words)
    assert (done.status, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert "--new-store" in done.err
    assert left(tmp_path) == ["all.backup"]


@pytest.mark.parametrize("flags", [("--new-store",), ("--state-dir", "mine")])
def test_what_fills_a_store_announces_it(
    cli: Any,
    typed: Any,
    tmp_path: Path,
    flags: tuple[str, ...],
    redis_server_binary: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIDECAR_OPS_LISTEN", f"127.0.0.1:{free_port()}")  # a demo may serve on the default one
    typed(GOOD)
    done = cli(*CREATE, *flags)
    assert done.status == 0, done.err
    place = tmp_path / ("mine" if "mine" in flags else ".sidecar") / "store"
    assert done.err == f"sidecar: there is no store yet: creating one in {place}\n"
    typed(GOOD)
    again = cli(*CREATE[:2], "Gamma", *CREATE[3:], *(flags if "mine" in flags else ()))
    assert (again.status, again.err) == (0, ""), "the store exists by now"


@pytest.fixture
def running() -> Iterator[str]:
    """A server that responds to /status as a sidecar does."""

    class Status(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"store_address": "/srv/dashboard/.sidecar/store"} if self.path == "/status" else {})
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Status)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("words", [("account", "list"), CREATE], ids=["reads", "writes"])
def test_a_running_sidecar_that_uses_another_store_is_named(
    cli: Any, running: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIDECAR_OPS_LISTEN", running)
    done = cli(*words)
    assert done.status == 2
    assert f"the sidecar at {running} uses /srv/dashboard/.sidecar/store" in done.err


def test_doctor_before_the_first_start_makes_nothing(cli: Any, tmp_path: Path) -> None:
    done = cli("doctor", "--json", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0")
    assert done.status == 0, done.out
    said = {one["check"]: (one["status"], one["detail"]) for one in json.loads(done.out)}
    assert said["store"] == ("ok", f"{tmp_path / '.sidecar' / 'store'} will be made at the first start")
    assert left(tmp_path) == []
