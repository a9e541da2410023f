"""`sentences.js`: each action of the audit as an English sentence."""

import re
from pathlib import Path

from tests.console.node import call, run

ROOT = Path(__file__).parents[2] / "sidecar"
ROLES = [
    {"id": "account-administrator", "title": "Account Administrator"},
    {"id": "accountant", "title": "Accountant"},
    {"id": "marketer", "title": "Marketer"},
]
ANN = {"actor": "usr_ann", "actor_name": "Ann", "actor_email": "ann@example.com"}
BOB = {"target": "usr_bob", "target_name": "Bob", "target_email": "bob@example.com"}
SELF = {**BOB, "actor": "usr_bob", "actor_name": "Bob", "actor_email": "bob@example.com"}
OPERATOR = {"actor": None, "actor_name": None, "actor_email": None, "address": "cli"}
NOT_OF_AN_ACCOUNT = {"issuer.changed"}
"""Actions of the system's log, which no account reads: with those of keys."""
OF_THE_POLICY = {"policy.activated", "policy.reverted"}
"""Changes of the policy, which /v1/audit has beside the account's rows."""


def row(action, *given, before=None, after=None, **more):
    base = {"seq": 7, "at": "2026-11-30T08:00:00.000+00:00", "action": action, "address": "10.0.0.4", "request_id": "r"}
    found = {**base, **ANN, **BOB, "before": before, "after": after}
    for part in given:
        found |= part
    return found | more


def sentences(rows) -> list[str]:
    body = "return data.rows.map((row) => m.sentence(row, m.roleTitles(data.roles)))"
    return run("sentences.js,titles.js", body, {"rows": rows, "roles": ROLES})


def sentence(one) -> str:
    return sentences([one])[0]


def user(role="marketer", status="active", name="Bob"):
    return {"role": role, "status": status, "name": name}


CHANGES = [
    (user(), user("accountant"), "Ann made Bob an Accountant (was Marketer), from 10.0.0.4"),
    (user("accountant"), user(), "Ann made Bob a Marketer (was Accountant), from 10.0.0.4"),
    (user(), user(status="suspended"), "Ann suspended Bob, from 10.0.0.4"),
    (user(status="suspended"), user(), "Ann resumed Bob, from 10.0.0.4"),
    (user(), user(name="Robert"), "Ann changed the name of a user from Bob to Robert, from 10.0.0.4"),
    (user(name=""), user(name="Robert"), "Ann changed the name of Bob to Robert, from 10.0.0.4"),
    (
        user(),
        user("accountant", "suspended", "Robert"),
        (
            "Ann made Bob an Accountant (was Marketer) and suspended them and changed their name from Bob to Robert"
            ", from 10.0.0.4"
        ),
    ),
    (user("old-role"), user(), "Ann made Bob a Marketer (was Old role), from 10.0.0.4"),
]


def test_a_changed_user_is_described_by_the_differences():
    rows = [row("user.changed", before=before, after=after) for before, after, _ in CHANGES]
    assert sentences(rows) == [expected for *_, expected in CHANGES]


SENTENCES = [
    (row("session.opened", SELF, after={"session": "ses_1"}), "Bob signed in, from 10.0.0.4"),
    (
        row("session.stepped_up", SELF, after={"session": "ses_1", "methods": ["password", "totp"]}),
        "Bob signed in again with the password and an authenticator code, from 10.0.0.4",
    ),
    (row("factor.added", SELF, after={"name": "Phone"}), "Bob added the second factor Phone, from 10.0.0.4"),
    (
        row("factor.renamed", SELF, before={"name": "Phone"}, after={"name": "Work"}),
        "Bob renamed the second factor Phone to Work, from 10.0.0.4",
    ),
    (row("factor.removed", SELF, before={"name": "Phone"}), "Bob removed the second factor Phone, from 10.0.0.4"),
    (row("factor.reset"), "Ann removed all second factors of Bob, from 10.0.0.4"),
    (row("factor.confirmed"), "Ann confirmed the second factor of Bob, from 10.0.0.4"),
    (row("factor.recovery_codes", SELF), "Bob replaced their recovery codes, from 10.0.0.4"),
    (
        row("factor.counter_refused", SELF),
        "A passkey of Bob was refused, because its counter went back: it may have been copied, from 10.0.0.4",
    ),
    (row("session.ended", SELF, before={"sessions": ["a"]}), "Bob signed out of one session, from 10.0.0.4"),
    (
        row("session.ended", SELF, before={"sessions": ["a", "b"]}),
        "Bob ended 2 sessions of their own, from 10.0.0.4",
    ),
    (
        row("user.changed", SELF, before=user(), after=user(name="Robert")),
        "Bob changed their name from Bob to Robert, from 10.0.0.4",
    ),
    (row("session.ended", before={"sessions": ["a", "b"]}), "Ann ended 2 sessions of Bob, from 10.0.0.4"),
    (row("user.password", SELF), "Bob changed their password, from 10.0.0.4"),
    (
        row("user.password", SELF, after={"epoch": 2, "via": "password"}),
        "Bob changed their password, from 10.0.0.4",
    ),
    (
        row("user.password", SELF, after={"epoch": 2, "via": "mailed_link"}),
        "Bob set a new password with a mailed link, from 10.0.0.4",
    ),
    (
        row("user.password", SELF, after={"via": "shown_link", "maker": "usr_ann", "maker_name": "Ann"}),
        "A new password of Bob was set with a link that Ann was shown, from 10.0.0.4",
    ),
    (
        row("user.password", SELF, after={"via": "shown_link"}),
        "A new password of Bob was set with a link that an operator was shown, from 10.0.0.4",
    ),
    (row("user.signed_out"), "Ann signed Bob out everywhere, from 10.0.0.4"),
    (row("user.invited", after={"role": "accountant"}), "Ann invited Bob as Accountant, from 10.0.0.4"),
    (
        row("user.invited", after={"role": "accountant", "name": "Bob", "email": "bob@example.com"}),
        "Ann invited Bob (bob@example.com) as Accountant, from 10.0.0.4",
    ),
    (row("user.reset_link", after={"shown": True}), "Ann was shown a password reset link for Bob, from 10.0.0.4"),
    (row("user.reset_link", after={"shown": False}), "Ann sent Bob a password reset link, from 10.0.0.4"),
    (row("user.removed", before={"role": "marketer"}), "Ann removed Bob (was Marketer), from 10.0.0.4"),
    (
        row("account.created", OPERATOR, {"target": "acc_1", "target_name": None}, after={"name": "Acme", "cap": 5}),
        "An operator created the account Acme with 5 seats, on the command line",
    ),
    (row("account.seats", OPERATOR, before={"cap": 5}, after={"cap": "8"}),
     "An operator changed the seats from 5 to 8, on the command line"),
    (
        row("account.labels", OPERATOR, before={"labels": ""}, after={"labels": "plan=pro region=eu"}),
        "An operator set the labels of the account to plan=pro, region=eu, on the command line",
    ),
    (
        row("account.labels", OPERATOR, before={"labels": "plan=pro"}, after={"labels": ""}),
        "An operator removed the labels of the account, on the command line",
    ),
    (
        row("sign_in.failed", SELF, after={"count": 3, "addresses": ["10.0.0.4", "10.0.0.5"], "minute": 1}),
        "3 sign-ins of Bob failed, from 10.0.0.4, 10.0.0.5",
    ),
    (
        row("sign_in.failed", OPERATOR, {"target": "acc_1"}, after={"count": 1, "hour": 1}, address="sign-in"),
        "1 further sign-in failed within the hour",
    ),
    (
        row("invitation.expired", {"actor": None}, address="expiry", before={"email": "b@x.com", "role": "marketer"}),
        "The invitation of Bob as Marketer expired",
    ),
]  # fmt: skip


def test_a_row_is_a_sentence():
    assert sentences([given for given, _ in SENTENCES]) == [expected for _, expected in SENTENCES]


def policy_row(roles, action="policy.activated"):
    given = {"actor": None, "target": None, "target_name": None, "target_email": None, "seq": None, "address": ""}
    return row(action, given, before={"generation": "g1"}, after={"generation": "g2", "roles": roles})


def test_a_change_of_the_policy_names_sections_by_role():
    roles = [
        {"role": "marketer", "opened": ["media-library", "billing"], "closed": ["audit"], "changed": []},
        {"role": "accountant", "opened": [], "closed": [], "changed": ["billing"]},
    ]
    expected = "Marketer gained Media library, billing page; lost Audit. Accountant has other actions in billing page."
    body = """return data.rows.map((row) => m.sentence(row, m.roleTitles(data.roles),
      (id) => id === "billing" ? "billing page" : m.inWords(id)))"""
    rows = [policy_row(roles), policy_row(roles, "policy.reverted"), policy_row([]), policy_row(None)]
    assert run("sentences.js,titles.js", body, {"rows": rows, "roles": ROLES}) == [
        f"The policy changed. {expected}",
        f"An earlier policy came back. {expected}",
        "The policy changed. It opened and closed no section.",
        "The policy changed. Which sections it opened and closed is not recorded.",
    ]


def test_changes_of_the_policy_stand_between_rows_by_time():
    rows = [row("user.removed", seq=seq, at=f"2026-11-30T08:00:0{seq}.000+00:00") for seq in (3, 2, 1)]
    changes = [
        {"at": f"2026-11-30T08:00:0{second}.500+00:00", "action": "policy.activated", "generation": "b", "before": "a",
         "roles": []}
        for second in (3, 1)
    ]  # fmt: skip
    [found] = call("audit-policy.js", [("merged", [rows, changes])])
    assert [one["seq"] for one in found] == [None, 3, 2, None, 1]


def test_a_person_without_a_name_is_shown_by_email_then_by_id():
    unnamed = row("user.signed_out", actor_name="", target_name=None)
    assert sentence(unnamed) == "ann@example.com signed bob@example.com out everywhere, from 10.0.0.4"
    bare = row("user.signed_out", actor_name=None, actor_email=None, target_name=None, target_email=None)
    assert sentence(bare) == "usr_ann signed usr_bob out everywhere, from 10.0.0.4"
    gone = row("user.removed", before={"name": "Bob", "role": "marketer"}, target_name=None, target_email=None)
    assert sentence(gone) == "Ann removed Bob (was Marketer), from 10.0.0.4"


def every_action() -> set[str]:
    """Return the actions that scripts and modules write to an account's log."""
    scripts = "\n".join(file.read_text() for file in (ROOT / "store" / "scripts").glob("*.lua"))
    modules = "\n".join(file.read_text() for file in ROOT.rglob("*.py"))
    noted = re.findall(r"\.note\(\s*\"([a-z_.]+)\"", modules)
    in_lua = re.findall(r"'([a-z_]+\.[a-z_]+)'", "\n".join(re.findall(r"audit\([^)]*", scripts)))
    return {*noted, *in_lua, *OF_THE_POLICY} - NOT_OF_AN_ACCOUNT


def test_each_action_of_an_account_has_a_sentence_and_a_label():
    actions = sorted(every_action())
    assert len(actions) > 20, "the pattern finds the actions"
    assert set(run("sentences.js", "return Object.keys(m.KINDS)", None)) == set(actions)
    bare = [row(action, before={}, after={}) for action in actions]
    for action, text in zip(actions, sentences(bare), strict=True):
        assert action not in text
        assert not re.search(r"undefined|null|\[object|\bNaN\b|  | ,", text), (action, text)


def test_an_unknown_action_is_shown_as_it_is():
    assert sentence(row("user.teleported")) == "Ann: user.teleported of Bob, from 10.0.0.4"
    for name in ("constructor", "__proto__", "toString"):
        assert sentence(row(name)) == f"Ann: {name} of Bob, from 10.0.0.4"


def test_names_are_parts_of_their_own():
    markup = "<img src=x onerror=alert(1)>"
    parts = run("sentences.js", "return m.parts(data, (id) => id)", row("user.signed_out", actor_name=markup))
    assert {"name": markup} in parts
    assert all("<" not in part for part in parts if isinstance(part, str))


def test_actors_that_are_no_users_are_parts_of_their_own():
    """A person can choose any name, also "The sidecar": text alone does not tell them apart."""
    named = row("user.signed_out", actor_name="The sidecar")
    rows = [row("account.seats", OPERATOR, before={"cap": 1}, after={"cap": 2}), named]
    first, second = run("sentences.js", "return data.map((row) => m.parts(row, (id) => id)[0])", rows)
    assert (first, second) == ({"system": "An operator"}, {"name": "The sidecar"})


def test_differences_show_times_and_lists_as_text():
    before = {"role": "marketer", "expires": "1764489600000", "sessions": ["a", "b"]}
    [found] = call(
        "differences.js", [("differences", [row("x", before=before, after={"role": "marketer", "new": True})])]
    )
    assert found == [
        {"name": "Role", "before": "marketer", "after": "marketer", "differs": False},
        {"name": "Expires", "before": "2025-11-30T08:00:00Z", "after": "", "differs": True},
        {"name": "Sessions", "before": "a, b", "after": "", "differs": True},
        {"name": "New", "before": "", "after": "true", "differs": True},
    ]
