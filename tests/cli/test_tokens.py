"""``sidecar token inspect``: says what a token holds and whether the keys here believe it; shows no secret."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from sidecar.sources.key_files import load_or_create
from sidecar.tokens.claims import Claims
from sidecar.tokens.mint import access_token
from sidecar.vocabulary.people import AccountId, SessionId, UserId

ISSUER = "http://127.0.0.1:9181"


@pytest.fixture
def keys_dir(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def token(keys_dir: Path, **changed: Any) -> str:
    now = int(time.time())
    claims = {
        "issuer": ISSUER,
        "audience": "dashboard",
        "user": UserId("usr_aaaaaaaaaaaa_bbbbbbbbbbbb"),
        "account": AccountId("acc_aaaaaaaaaaaa"),
        "session": SessionId("ses_" + "c" * 26),
        "jti": "one",
        "issued_at": now,
        "expires_at": now + 600,
        "not_before": None,
        "epoch": 3,
        **changed,
    }
    return access_token(load_or_create(keys_dir, entropy=os.urandom).keys, Claims(**claims))


def test_a_good_token(cli: Any, typed: Any, keys_dir: Path) -> None:
    text = token(keys_dir)
    typed(text + "\n")
    done = cli("token", "inspect", "--keys-dir", str(keys_dir), "--json")
    assert (done.status, done.err) == (0, "")
    said = json.loads(done.out)
    assert (said["valid"], said["reason"]) == (True, None)
    assert said["header"]["typ"] == "at+jwt"
    assert (said["claims"]["sub"], said["claims"]["tv"]) == ("usr_aaaaaaaaaaaa_bbbbbbbbbbbb", 3)
    typed(text)
    plain = cli("token", "inspect", "--keys-dir", str(keys_dir))
    assert plain.out.startswith("verdict  valid") or "valid" in plain.out.splitlines()[0]
    assert f"({time.strftime('%Y')}" in plain.out
    assert text.rpartition(".")[2] not in done.out + plain.out, "the signature is not shown"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [({"expires_at": 1000, "issued_at": 500}, "expired"), ({"issuer": "http://other"}, "wrong_issuer")],
)
def test_a_token_that_is_not_believed(cli: Any, typed: Any, keys_dir: Path, changed: Any, reason: str) -> None:
    typed(token(keys_dir, **changed))
    done = cli("token", "inspect", "--keys-dir", str(keys_dir), "--json")
    assert done.status == 1
    assert json.loads(done.out)["reason"] == reason


def test_a_token_of_other_keys(cli: Any, typed: Any, keys_dir: Path, tmp_path: Path) -> None:
    load_or_create(keys_dir, entropy=os.urandom)
    typed(token(tmp_path / "others"))
    done = cli("token", "inspect", "--keys-dir", str(keys_dir), "--json")
    assert (done.status, json.loads(done.out)["reason"]) == (1, "unknown_key")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("rt_aaa_bbb", "a refresh token"),
        ("inv_x", "an invitation"),
        ("pep_x", "a PEP key"),
        ("hello", "no JWT"),
        ("a.b.c", "no JWT"),
        ("W10.W10.x", "no JWT"),
        ("e30.e30\x1b[31m.x", "no JWT"),
    ],
)
def test_what_is_no_access_token(cli: Any, typed: Any, keys_dir: Path, text: str, part: str) -> None:
    load_or_create(keys_dir, entropy=os.urandom)
    typed(text)
    done = cli("token", "inspect", "--keys-dir", str(keys_dir))
    assert (done.status, done.out) == (1, "")
    assert part in done.err
    assert text not in done.err


def test_R24_the_token_comes_by_standard_input_alone(cli: Any, typed: Any) -> None:
    assert cli("token", "inspect", "e30.e30.x").status == 2
    typed("")
    assert cli("token", "inspect").status == 2


def test_without_keys_status_2_and_none_are_made(cli: Any, typed: Any, keys_dir: Path) -> None:
    typed("e30.e30.x")
    done = cli("token", "inspect", "--keys-dir", str(keys_dir))
    assert done.status == 2
    assert not keys_dir.exists()
