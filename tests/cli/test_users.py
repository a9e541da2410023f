"""``sidecar user``: the users of an account, as an operator manages them."""

import asyncio
import json
import time
from typing import Any

import pytest

from sidecar.store.connection import Store
from sidecar.store.federated_identities import FederatedIdentities, Linked
from sidecar.tokens.ids import account_of
from tests.conftest import PATIENT

INVITE = ("user", "invite", "bob@acme.example", "--role", "accountant")


def users(at_store: Any) -> dict[str, Any]:
    listed = json.loads(at_store("user", "list", "--json").out)["users"]
    return {user["email"]: user for user in listed}


def test_invite_prints_a_link_with_its_secret_in_the_fragment(at_store: Any) -> None:
    done = at_store(*INVITE, "--name", "Bob", "--public-url", "https://dash.example", "--invite-ttl", "1d", "--json")
    assert (done.status, done.err) == (0, "")
    made = json.loads(done.out)
    assert made["user"]["status"] == "invited"
    assert made["invitation"]["url"].startswith("https://dash.example/console/invitation#inv_")
    assert "inv_" in at_store("user", "invite", "eve@acme.example", "--role", "marketer").out


def test_list_shows_everybody_and_the_seats(at_store: Any) -> None:
    at_store(*INVITE, "--name", "Bob")
    lines = at_store("user", "list", "--account", "acme").out.splitlines()
    assert lines[0].split()[:4] == ["ID", "E-MAIL", "NAME", "ROLE"]
    assert any(line.split()[1:] == ["bob@acme.example", "Bob", "accountant", "invited"] for line in lines)
    assert any(line.split()[1:] == ["ada@acme.example", "Ada", "account-administrator", "active"] for line in lines)
    assert lines[-1] == "2 of 5 seats used"


@pytest.mark.parametrize("by", ["e-mail", "spaces", "id"])
def test_set_role_and_remove(at_store: Any, by: str) -> None:
    at_store(*INVITE)
    typed = {"e-mail": "Bob@ACME.example", "spaces": " bob@acme.example\t"}
    named = typed.get(by) or users(at_store)["bob@acme.example"]["id"]
    done = at_store("user", "set-role", named, "developer")
    assert (done.status, done.out, done.err) == (0, "bob@acme.example is developer\n", "")
    assert users(at_store)["bob@acme.example"]["role"] == "developer"
    done = at_store("user", "remove", named, "--json")
    assert done.status == 0
    assert json.loads(done.out)["removed"]["email"] == "bob@acme.example"
    assert set(users(at_store)) == {"ada@acme.example"}


def test_an_expired_invitation_has_no_seat_and_is_removable(at_store: Any) -> None:
    at_store(*INVITE, "--invite-ttl", "1s")
    time.sleep(1.1)
    assert users(at_store)["bob@acme.example"]["status"] == "expired"
    assert at_store("user", "list", "--account", "acme").out.splitlines()[-1] == "1 of 5 seats used"
    done = at_store("user", "set-role", "bob@acme.example", "developer")
    assert (done.status, done.out) == (0, "bob@acme.example is developer\n")
    assert at_store("user", "remove", "bob@acme.example").status == 0
    assert set(users(at_store)) == {"ada@acme.example"}


@pytest.mark.parametrize(
    ("argv", "status", "part"),
    [
        (("user", "invite", "nobody", "--role", "marketer"), 2, "'nobody' is not an e-mail"),
        (("user", "invite", "x@acme.example", "--role", "acountant"), 2, "did you mean accountant?"),
        (("user", "invite", "x@acme.example", "--role", "member"), 2, "no assignable role 'member'"),
        (("user", "invite", "x@acme.example"), 2, "--role"),
        (("user", "invite", "ada@acme.example", "--role", "marketer"), 1, "is a member already: usr_"),
        (("user", "invite", "bob@acme.example", "--role", "marketer"), 1, "is invited already, until 2"),
        (("user", "set-role", "ada@acme.example", "marketer"), 1, "last active Account Administrator"),
        (("user", "remove", "ada@acme.example"), 1, "last active Account Administrator"),
        (("user", "set-role", "who@acme.example", "marketer"), 1, "no user 'who@acme.example'"),
        (("user", "set-role", "ada@acme.example", "Marketer"), 2, "did you mean marketer?"),
        (("user", "remove", "usr_aaaaaaaaaaaa_aaaaaaaaaaaa"), 1, "no user"),
        (("user", "remove", "nonsense"), 1, "no user"),
        (("user", "list", "--account", "Nobody"), 1, "no account 'Nobody'"),
        (("user", "remove", "bob@acme.example", "--account", "Nobody"), 1, "no account 'Nobody'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_no_and_wrong(at_store: Any, argv: tuple[str, ...], status: int, part: str) -> None:
    at_store(*INVITE)
    done = at_store(*argv)
    assert (done.status, done.out) == (status, "")
    assert part in done.err
    assert done.err.count("\n") == 1
    assert set(users(at_store)) == {"ada@acme.example", "bob@acme.example"}


def test_no_seat_is_free(at_store: Any) -> None:
    for number in range(4):
        assert at_store("user", "invite", f"u{number}@acme.example", "--role", "marketer").status == 0
    done = at_store(*INVITE)
    assert done.status == 1
    assert "5 of 5 used (1 members, 4 invited)" in done.err
    at_store("account", "set-seats", "Acme", "6")
    assert at_store(*INVITE).status == 0


def test_with_two_accounts_one_has_to_be_named(at_store: Any, typed: Any) -> None:
    typed("five green bottles on a wall")
    at_store("account", "create", "Beta", "--admin-email", "ada@acme.example", "--password-stdin")
    done = at_store("user", "list")
    assert done.status == 2
    assert "--account" in done.err
    done = at_store("user", "list", "--account", "Beta", "--json")
    assert [user["email"] for user in json.loads(done.out)["users"]] == ["ada@acme.example"]


def test_an_id_of_another_account_is_nobodys(at_store: Any, typed: Any) -> None:
    at_store(*INVITE)
    stranger = users(at_store)["bob@acme.example"]["id"]
    typed("five green bottles on a wall")
    at_store("account", "create", "Beta", "--admin-email", "bo@beta.example", "--password-stdin")
    done = at_store("user", "remove", stranger, "--account", "Beta")
    assert done.status == 1
    assert "no user" in done.err


def test_without_any_account(cli: Any, real_redis_url: str) -> None:
    done = cli("user", "list", "--redis-url", real_redis_url)
    assert done.status == 2
    assert "sidecar account create" in done.err


def test_a_policy_that_does_not_compile_names_the_first_finding(at_store: Any, tmp_path: Any) -> None:
    (tmp_path / "policy").mkdir()
    done = at_store("user", "remove", "ada@acme.example", "--policy-dir", str(tmp_path / "policy"))
    assert done.status == 2
    assert "does not compile" in done.err
    assert done.err.count("\n") == 1


def test_R12_reset_password_prints_a_link_for_an_active_user(at_store: Any) -> None:
    done = at_store("user", "reset-password", "Ada@acme.example", "--public-url", "https://dash.example", "--json")
    assert (done.status, done.err) == (0, "")
    made = json.loads(done.out)
    assert made["link"].startswith("https://dash.example/console/reset#rst_")
    assert "T" in made["until"]
    assert "rst_" in at_store("user", "reset-password", "ada@acme.example").out
    uid = users(at_store)["ada@acme.example"]["id"]
    rows = [json.loads(line) for line in at_store("audit", "export").out.splitlines()]
    noted = [row for row in rows if row.get("action") == "user.reset_link"]
    assert [(row["target"], row["actor"], row["address"]) for row in noted] == [(uid, "", "cli")] * 2
    assert [(row["log"], row["after"]) for row in noted] == [(account_of(uid), {"shown": True})] * 2
    assert "rst_" not in json.dumps(rows)


def test_reset_password_is_for_users_who_have_one(at_store: Any) -> None:
    at_store(*INVITE)
    done = at_store("user", "reset-password", "bob@acme.example")
    assert (done.status, done.out) == (1, "")
    assert "is invited and has no password" in done.err
    assert at_store("user", "reset-password", "who@acme.example").status == 1


def test_R10_unlink_parts_a_user_from_its_outside_subject(at_store: Any, real_redis_url: str) -> None:
    uid = users(at_store)["ada@acme.example"]["id"]
    assert at_store("user", "unlink", "ada@acme.example").status == 1
    assert at_store("user", "unlink", "who@acme.example").status == 1
    asyncio.run(link(real_redis_url, uid, "https://login.example"))
    done = at_store("user", "unlink", "ada@acme.example", "--from", "https://other.example")
    assert (done.status, done.out) == (1, "")
    assert "no outside subject of https://other.example" in done.err
    done = at_store("user", "unlink", uid, "--from", "https://login.example", "--json")
    assert (done.status, done.err) == (0, "")
    said = json.loads(done.out)
    assert (said["user"]["id"], said["subjects"], said["complete"]) == (uid, 1, True)
    done = at_store("user", "unlink", uid, "--may-return")
    assert (done.status, done.out) == (0, "ada@acme.example is unlinked from 1 outside subject\n")


ISS = "https://login.example"
LINK = ("user", "link", "ada@acme.example", "--account", "Acme", "--issuer", ISS, "--subject")


@pytest.fixture
def issuers(tmp_path: Any) -> str:
    """An issuers file that names ISS."""
    file = tmp_path / "issuers.toml"
    file.write_text(
        f'[[issuer]]\nissuer = "{ISS}"\naudience = "app"\njwks_file = "keys.json"\n'
        'algorithms = ["RS256"]\naccounts = ["Acme"]\n'
    )
    return str(file)


def test_R10_link_binds_a_subject_to_a_user_for_the_operator(at_store: Any, issuers: str) -> None:
    done = at_store(*LINK, "s-1", "--trusted-issuers", issuers)
    assert (done.status, done.err) == (0, "")
    assert done.out == f"ada@acme.example is linked to s-1 of {ISS}\n"
    done = at_store(*LINK, "s-1", "--trusted-issuers", issuers, "--json")
    said = json.loads(done.out)
    assert (said["user"]["email"], said["password_removed"], said["complete"]) == ("ada@acme.example", False, True)
    rows = [json.loads(line) for line in at_store("audit", "export").out.splitlines()]
    (linked,) = [row for row in rows if row.get("action") == "user.linked"]
    assert (linked["actor"], linked["address"]) == ("", "cli")


def test_link_refuses_what_would_be_useless_or_somebody_elses(at_store: Any, issuers: str) -> None:
    at_store(*INVITE)
    for argv, status, part in (
        ((*LINK, ""), 2, "--subject must be a text of 1 to 255"),
        ((*LINK, "s" * 256), 2, "--subject must be"),
        ((*LINK, "s\n1"), 2, "--subject must be"),
        (("user", "link", "ada@acme.example", "--issuer", ISS + "/", "--subject", "s"), 2, f"it has {ISS}"),
        (("user", "link", "bob@acme.example", "--issuer", ISS, "--subject", "s"), 1, "is not an active user"),
        (("user", "link", "who@acme.example", "--issuer", ISS, "--subject", "s"), 1, "no user 'who@acme.example'"),
    ):
        done = at_store(*argv, "--trusted-issuers", issuers)
        assert (done.status, done.out) == (status, ""), done.err
        assert part in done.err
    assert at_store(*LINK, "s-1").err.startswith("sidecar: note: SIDECAR_TRUSTED_ISSUERS is not set here")
    done = at_store(*LINK, "s-2", "--trusted-issuers", issuers)
    assert (done.status, done.out) == (1, "")
    assert f"sidecar user unlink ada@acme.example --issuer {ISS}" in done.err
    assert at_store("user", "unlink", "ada@acme.example", "--issuer", ISS).status == 0
    assert at_store(*LINK, "s-1", "--trusted-issuers", issuers).status == 0, "and the subject is unblocked"


async def link(url: str, uid: Any, issuer: str) -> None:
    """Link as the issuer's first token does."""
    store = await Store.open(url, **PATIENT)
    try:
        account = account_of(uid)
        assert account is not None
        done = await FederatedIdentities(store).link(account, issuer=issuer, subject="s-1", email="ada@acme.example")
        assert done == Linked(uid)
    finally:
        await store.close()


def test_reset_and_confirm_say_that_there_is_no_factor(at_store: Any) -> None:
    for verb, part in (("reset-factors", "has no second factor"), ("confirm-factor", "no second factor that waits")):
        done = at_store("user", verb, "ada@acme.example")
        assert (done.status, done.out) == (1, "")
        assert part in done.err
        unknown = at_store("user", verb, "who@acme.example")
        assert (unknown.status, unknown.out) == (1, "")
        assert "no user 'who@acme.example'" in unknown.err
