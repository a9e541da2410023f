"""``sidecar token inspect``: prints the claims of a token and whether the local keys verify it; prints no secret."""

import json
import os
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
import redis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from sidecar.domain.users import AccountId, SessionId, UserId
from sidecar.sources.key_files import load_or_create
from sidecar.tokens.claims import Claims
from sidecar.tokens.keyset import access_token

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
        ("hello", "not a JWT"),
        ("a.b.c", "not a JWT"),
        ("W10.W10.x", "not a JWT"),
        ("e30.e30\x1b[31m.x", "not a JWT"),
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


CORP = "https://login.corp.example"
CORP_KEY = Ed25519PrivateKey.from_private_bytes(b"c" * 32)


def corp_token(**claims: Any) -> str:
    now = int(time.time())
    payload = {"iss": CORP, "aud": "app", "sub": "s-1", "iat": now, "exp": now + 300, **claims}
    return jwt.encode(payload, CORP_KEY, "EdDSA", {"kid": "k-1"})


@pytest.fixture
def issuers(tmp_path: Path, keys_dir: Path) -> tuple[str, ...]:
    """Flags of a sidecar that trusts Corp; the key set is a file, so that nothing is fetched."""
    load_or_create(keys_dir, entropy=os.urandom)
    public = {**OKPAlgorithm.to_jwk(CORP_KEY.public_key(), as_dict=True), "kid": "k-1"}
    (tmp_path / "corp.json").write_text(json.dumps({"keys": [public]}))
    listed = tmp_path / "issuers.toml"
    listed.write_text(
        f'[[issuer]]\nissuer = "{CORP}"\naudience = "app"\njwks_file = "corp.json"\n'
        'algorithms = ["EdDSA"]\naccounts = ["Acme"]\n'
    )
    return ("--keys-dir", str(keys_dir), "--trusted-issuers", str(listed))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [({}, None), ({"aud": "other"}, "wrong_audience"), ({"exp": 1000, "iat": 900}, "expired")],
)
def test_R10_the_token_of_a_trusted_issuer_is_judged_by_its_keys(
    cli: Any, typed: Any, issuers: Any, claims: Any, reason: str | None
) -> None:
    typed(corp_token(**claims))
    done = cli("token", "inspect", *issuers, "--json")
    assert done.status == (1 if reason else 0), done.err
    said = json.loads(done.out)
    assert (said["valid"], said["reason"]) == (reason is None, reason)
    assert (said["trusted_issuer"], said["kid"]) == (CORP, "k-1")
    typed(corp_token(**claims))
    plain = cli("token", "inspect", *issuers).out.splitlines()
    assert [line.split()[-1] for line in plain[:2]] == [reason or "valid", CORP]


def test_R10_a_forged_token_of_a_trusted_issuer(cli: Any, typed: Any, issuers: Any, tmp_path: Path) -> None:
    head, _, _ = corp_token().rpartition(".")
    typed(head + "." + "A" * 86)
    assert json.loads(cli("token", "inspect", *issuers, "--json").out)["reason"] == "invalid_signature"
    (tmp_path / "corp.json").unlink()
    typed(corp_token())
    done = cli("token", "inspect", *issuers, "--json")
    assert (done.status, json.loads(done.out)["reason"]) == (1, "unknown_key")
    assert f"the keys of {CORP} cannot be used" in done.err


def test_own_keys_verify_other_tokens_and_a_bad_list_is_status_2(
    cli: Any, typed: Any, issuers: Any, keys_dir: Path, tmp_path: Path
) -> None:
    typed(token(keys_dir))
    said = json.loads(cli("token", "inspect", *issuers, "--json").out)
    assert (said["valid"], said["trusted_issuer"]) == (True, None)
    (tmp_path / "issuers.toml").write_text("[[issuer]]\n")
    typed(token(keys_dir))
    assert cli("token", "inspect", *issuers).status == 2


# The decision of a check ----------------------------------------------------------------------------------------------


def inspected(at_store: Any, typed: Any, issuers: Any, text: str) -> dict[str, Any]:
    typed(text)
    done = at_store("token", "inspect", *issuers, "--json")
    said: dict[str, Any] = json.loads(done.out)
    assert (done.status, done.err) == (0 if said["valid"] else 1, ""), said
    assert said["not_looked_up"] is None
    return said


@pytest.fixture
def keys_of_the_store(cli: Any, tmp_path: Path) -> Path:
    """Key directory of ``at_store``."""
    return tmp_path / ".sidecar" / "keys"


@pytest.fixture
def ada(at_store: Any) -> str:
    found: str = json.loads(at_store("user", "list", "--json").out)["users"][0]["id"]
    return found


def test_inspect_says_of_a_token_of_ours_what_a_check_would_say(
    at_store: Any, typed: Any, keys_of_the_store: Path, ada: str
) -> None:
    account = AccountId("acc_" + ada[4:16])
    for changed, reason in (
        ({}, "unknown_user"),
        ({"user": UserId(ada), "account": account, "epoch": 1}, "session_ended"),
    ):
        assert inspected(at_store, typed, (), token(keys_of_the_store, **changed))["reason"] == reason
    assert at_store("user", "unlink", ada).status == 1
    typed(token(keys_of_the_store, user=UserId(ada), account=account, epoch=1))
    plain = at_store("token", "inspect").out
    assert plain.splitlines()[0].split() == ["verdict", "session_ended"]


@pytest.fixture
def trusted(issuers: Any) -> tuple[str, ...]:
    """The issuers file, with the store's own keys."""
    return ("--trusted-issuers", str(issuers[3]))


def test_R10_inspect_decides_as_a_check_and_links_nothing(at_store: Any, typed: Any, trusted: Any, ada: str) -> None:
    proven = {"email": "ada@acme.example", "email_verified": True}
    for claims, reason, why in (
        ({}, "unknown_user", "the token has no email"),
        ({"email": "ada@acme.example"}, "unknown_user", "the token has no email_verified (the entry"),
        ({**proven, "email_verified": False}, "unknown_user", "the token has an email_verified that is not true (the"),
        ({**proven, "email_verified": "true"}, "unknown_user", 'that is not true, but the text "true" (the entry'),
        ({**proven, "email": "eve@acme.example"}, "unknown_user", "no active user has its e-mail"),
        ({**proven, "email": "\uff41da@acme.example"}, "unknown_user", "its spelling may be another mailbox"),
        ({**proven, "aud": "other"}, "wrong_audience", ""),
        ({**proven, "events": {}}, "malformed_token", ""),
        ({**proven, "exp": time.time() - 100.5, "iat": time.time() - 200.5}, "expired", ""),
        ({**proven, "iat": time.time() - 0.5}, None, ""),
        (proven, None, ""),
    ):
        said = inspected(at_store, typed, trusted, corp_token(**claims))
        assert (said["reason"], said["trusted_issuer"]) == (reason, CORP)
        assert why in (said["why"] or "")
        assert bool(said["why"]) is bool(why)
        assert (said["user"] or {}).get("id") == (None if reason else ada)
    rows = at_store("audit", "export").out
    assert "user.linked" not in rows, "the first check will"

    link = ("user", "link", ada, "--issuer", CORP, "--subject", "s-1", *trusted)
    assert at_store(*link).status == 0
    assert inspected(at_store, typed, trusted, corp_token())["user"]["id"] == ada
    assert inspected(at_store, typed, trusted, corp_token(sub="s-2", **proven))["reason"] == "unknown_user"
    later = int(time.time()) + 3
    assert at_store("user", "unlink", ada).status == 0
    barred = inspected(at_store, typed, trusted, corp_token(iat=later, **proven))
    assert (barred["reason"], "was unlinked from this subject" in barred["why"]) == ("unknown_user", True)
    assert inspected(at_store, typed, trusted, corp_token(sub="s-2", iat=later - 10, **proven))["reason"] == "revoked"
    assert inspected(at_store, typed, trusted, corp_token(sub="s-2", iat=later, **proven))["user"]["id"] == ada


def test_inspect_without_a_store_reports_the_missing_look_up(cli: Any, typed: Any, issuers: Any) -> None:
    typed(corp_token())
    said = json.loads(cli("token", "inspect", *issuers, "--json").out)
    assert (said["valid"], said["user"]) == (True, None)
    assert said["not_looked_up"] == "no SIDECAR_REDIS_URL is set, and .sidecar has no store"
    assert not Path(".sidecar").exists(), "and none is made"
    typed(corp_token())
    done = cli("token", "inspect", *issuers, "--redis-url", "redis://127.0.0.1:1")
    assert (done.status, done.err) == (0, "")
    assert "not looked up: the store does not answer" in done.out


def test_inspect_beside_an_empty_redis_makes_nothing_there(
    cli: Any, typed: Any, issuers: Any, real_redis_url: str, tmp_path: Path
) -> None:
    typed(corp_token())
    done = cli("token", "inspect", *issuers, "--json", "--redis-url", real_redis_url)
    assert (done.status, done.err) == (0, "")
    assert "there is no store" in json.loads(done.out)["not_looked_up"]
    with redis.Redis(unix_socket_path=real_redis_url.removeprefix("unix://")) as client:
        assert client.keys("*") == []
    assert not (tmp_path / ".sidecar").exists()
