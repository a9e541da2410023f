"""A backup is validated before any write: crafted files are rejected whole, with line, value and remedy.

The closing hash is no secret, so every file here has a right one. ``SIDECAR_TEST_FUZZ`` sets the number of mutations
(default 250); a failure prints the seed.
"""

import asyncio
import copy
import hashlib
import json
import os
import random
import re
from contextlib import asynccontextmanager
from importlib.resources import files

import fakeredis
import pytest

from sidecar.domain.peps import PepId, Scope
from sidecar.domain.users import Actor, Status
from sidecar.identity.emails import is_normal, is_written
from sidecar.store import keys, scripts
from sidecar.store.audit import Audit
from sidecar.store.factors import Factors
from sidecar.store.federated_identities import FederatedIdentities
from sidecar.store.maintenance import archive, archive_forms, archive_records
from sidecar.store.maintenance.backup import ArchiveRules, Backup, InvalidBackupError, Restored
from sidecar.store.maintenance.fsck import Fsck
from sidecar.store.peps import PepCreated, Peps
from sidecar.store.scripting import run_read
from sidecar.store.users import Users
from tests.memory_store import store_over

OPERATOR = Actor.operator()
MUTATIONS = int(os.environ.get("SIDECAR_TEST_FUZZ", "250"))
RULES = ArchiveRules(
    is_normal=is_normal, is_written=is_written, roles={"account-administrator", "developer", "marketer"}
)


async def lived(town, file):
    """The lines of a backup except the last, as values: two accounts with every kind of change."""
    admin = await town.account(cap=6)
    actor = await town.signed_in(admin)
    member = await town.member(actor, admin.account, "b@example.com", role="developer")
    await town.member(actor, admin.account, "d@example.com", role="marketer")
    factors = Factors(town.store)
    for factor, proof in ((f"totp_{'a' * 16}", {"step": 7}), (f"passkey_{'b' * 16}", {"counter": 3})):
        await factors.add(actor, factor, sealed="s" * 60, ttl=60)
        await factors.confirm(actor, factor, name="Phone", codes=("d" * 64,), wait=60, **proof)
    await town.users.change(actor, member.id, status=Status.SUSPENDED)
    await town.users.sign_out_everywhere(member.id, OPERATOR)
    await town.invite(actor, admin.account, "c@example.com", name="Zoë")
    for letter in "ab":
        made = await Peps(town.store).create(
            OPERATOR, PepId(f"pep_{admin.account[4:]}_{letter * 12}"), name=f"gate-{letter}", digest="d" * 64,
            scopes=frozenset(Scope), ttl=60, rate=1,
        )  # fmt: skip
        assert isinstance(made, PepCreated)
    links = FederatedIdentities(town.store)
    for subject, email in (("s-1", admin.email), ("s-2", "d@example.com")):
        await links.link(admin.account, issuer="https://login.example", subject=subject, email=email)
    await links.unlink(admin.id)
    await town.account(name="Second", email="x@example.com")
    await Backup(town.store).save(file)
    return file.read_bytes().splitlines()[:-1]


@asynccontextmanager
async def another_store(entropy):
    client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer(), decode_responses=True)
    store = store_over(client, entropy=entropy)
    await store.check_meta(issuer="https://id.example", audience="dashboard")
    yield store
    await client.aclose()


@pytest.fixture(scope="module")
def good(tmp_path_factory, town_class):
    async def made():
        entropy = random.Random(7).randbytes
        async with another_store(entropy) as store:
            return await lived(town_class(store, entropy), tmp_path_factory.mktemp("good") / "backup")

    return asyncio.run(made())


@pytest.fixture
def entries(good):
    """The valid backup's lines, for tests that change them."""
    return [json.loads(line) for line in good]


@pytest.fixture
async def there(entropy):
    """Another Redis."""
    async with another_store(entropy) as store:
        yield store


def sealed(path, lines, accounts=None):
    """The file with these lines (values or bytes) and a matching end."""
    body = b"".join(
        line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=True).encode() + b"\n" for line in lines
    )
    if accounts is None:
        accounts = sum(isinstance(line, dict) and "data" in line for line in lines)
    end = {"end": "sidecar-backup/1", "accounts": accounts, "sha256": hashlib.sha256(body).hexdigest()}
    path.write_bytes(body + json.dumps(end).encode() + b"\n")
    return path


async def contents(store):
    """Return every key with its value and whether it expires, for a comparison byte for byte."""
    client, found = store.client, {}
    async for key in client.scan_iter("*"):
        kind = await client.type(key)
        read = {
            "string": client.get,
            "hash": client.hgetall,
            "set": client.smembers,
            "zset": lambda key: client.zrange(key, 0, -1, withscores=True),
            "stream": client.xrange,
        }[kind]
        found[key] = (kind, await read(key), await client.ttl(key) >= 0)
    return found


def account(entries):
    return next(entry for entry in entries if "data" in entry and len(entry["data"]["users"]) > 1)


def members(entries):
    return account(entries)["data"]["users"]


def put(flat, name, value):
    for at in range(0, len(flat), 2):
        if flat[at] == name:
            flat[at + 1] = value
            return
    flat += [name, value]


def drop(flat, name):
    at = flat.index(name)
    del flat[at : at + 2]


def rows(entries):
    return next(entry for entry in entries if "rows" in entry and entry["account"] == account(entries)["account"])[
        "rows"
    ]


def field(path, name, value):
    """A change of one field of the first record under ``path``."""

    def change(entries):
        found = account(entries)["data"][path]
        put(found if path in {"a", "links", "seal"} else found[0][1], name, value)

    return change


def without(path, name):
    def change(entries):
        found = account(entries)["data"][path]
        drop(found if path in {"a", "links", "seal"} else found[0][1], name)

    return change


def foreign(entries):
    members(entries).append(["usr_aaaaaaaaaaaa_bbbbbbbbbbbb", members(entries)[0][1]])


def colon(entries):
    members(entries).append(["x:y", members(entries)[0][1]])


def all_marketers(entries):
    for _, flat in members(entries):
        put(flat, "role", "marketer")


def all_suspended(entries):
    for _, flat in members(entries):
        put(flat, "st", "suspended")


def same_email(entries):
    first, second, *_ = members(entries)
    put(second[1], "em", first[1][first[1].index("em") + 1])


def invited_member(entries):
    account(entries)["data"]["invitations"][0][0] = members(entries)[0][0]


def invited_email(entries):
    flat = members(entries)[0][1]
    put(account(entries)["data"]["invitations"][0][1], "em", flat[flat.index("em") + 1])


def twice(path):
    def change(entries):
        found = account(entries)["data"][path]
        found.append(copy.deepcopy(found[0]))

    return change


def pep_name_twice(entries):
    first, second = account(entries)["data"]["peps"]
    put(second[1], "name", first[1][first[1].index("name") + 1])


def link_to(user):
    def change(entries):
        put(account(entries)["data"]["links"], "ab" * 32 + ":" + "cd" * 32, user)

    return change


def second_subject(entries):
    links = account(entries)["data"]["links"]
    at = next(at for at in range(1, len(links), 2) if not links[at].startswith("-"))
    links += [links[at - 1][:65] + "0" * 64, links[at]]


def linked_nobody(entries):
    link_to(f"usr_{account(entries)['account'][4:]}_bbbbbbbbbbbb")(entries)


def same_name(entries):
    other = next(e for e in entries if "data" in e and e is not account(entries))
    put(other["data"]["a"], "name", "ＡＣＭＥ")


def same_account(entries):
    entries.append(copy.deepcopy(account(entries)))


def gap(entries):
    del rows(entries)[2]


def lost_rows(entries):
    entries[:] = [e for e in entries if "rows" not in e]


def rows_of_another(entries):
    entries[:] = [e for e in entries if "rows" not in e] + [e for e in entries if "rows" in e][:1]


CRAFTED = {
    "epoch is a word": (field("users", "tv", "abc"), "tv is 'abc'"),
    "epoch is zero": (field("users", "tv", "0"), "tv is '0'"),
    "epoch is negative": (field("users", "tv", "-1"), "tv is '-1'"),
    "epoch is a fraction": (field("users", "tv", "1.0"), "tv is '1.0'"),
    "epoch has an exponent": (field("users", "tv", "1e3"), "tv is '1e3'"),
    "epoch has other digits": (field("users", "tv", "١"), "tv is"),
    "epoch ends in a newline": (field("users", "tv", "1\n"), "tv is"),
    "epoch is beyond every number": (field("users", "tv", "9" * 400), "tv is '9999"),
    "epoch is infinite": (field("users", "tv", "inf"), "tv is 'inf'"),
    "epoch is a number of JSON": (field("users", "tv", 1), "tv is a whole number, not a string"),
    "epoch is null": (field("users", "tv", None), "tv is null, not a string"),
    "password of a later epoch": (field("users", "pwtv", "77"), "bad_record"),
    "record of a later change": (field("users", "rv", "999999"), "bad_record"),
    "invitation of a later change": (field("invitations", "rv", "999999"), "has change 999999"),
    "key of a later change": (field("peps", "rv", "999999"), "has change 999999"),
    "e-mail missing": (without("users", "em"), "no field em"),
    "password missing": (without("users", "pw"), "no field pw"),
    "role missing": (without("users", "role"), "no field role"),
    "e-mail in another spelling": (field("users", "em", "Ada@Example.com"), "em is 'Ada@Example.com'"),
    "e-mail that folds": (field("users", "em", "ÅDA@example.com"), "normal form"),
    "mailbox of another e-mail": (field("users", "mb", "eve@example.com"), "not a written form of"),
    "mailbox is none": (field("users", "mb", "ada"), "mb is 'ada'"),
    "e-mail is none": (field("users", "em", "ada"), "em is 'ada'"),
    "unknown field": (field("users", "sudo", "1"), "unknown field 'sudo'"),
    "unknown member": (lambda e: account(e)["data"].update(members=[]), "unknown member 'members'"),
    "unknown member of a line": (lambda e: account(e).update(note=1), "unknown member 'note'"),
    "member missing": (lambda e: account(e)["data"].pop("peps"), "no member 'peps'"),
    "field twice": (lambda e: members(e)[0][1].extend(["tv", "1"]), "tv occurs twice"),
    "odd list": (lambda e: members(e)[0][1].append("x"), "not of pairs"),
    "users are an object": (lambda e: account(e)["data"].update(users={"a": 1}), "users is an object, not a list"),
    "user is a text": (lambda e: members(e).append("usr"), "a user is a string"),
    "user is an object": (lambda e: members(e)[0].__setitem__(1, {"em": "x"}), "is an object, not a list"),
    "user of another account": (foreign, "usr_aaaaaaaaaaaa_bbbbbbbbbbbb"),
    "user id with a colon": (colon, "'x:y'"),
    "user twice": (twice("users"), "occurs twice"),
    "invitation twice": (twice("invitations"), "occurs twice"),
    "factor twice": (twice("factors"), "occurs twice"),
    "factor of a foreign user": (field("factors", "u", "usr_aaaaaaaaaaaa_bbbbbbbbbbbb"), "who is no user of"),
    "factor with an open secret": (field("factors", "sealed", "two words"), "sealed is not a sealed secret"),
    "factor of another kind": (
        lambda e: account(e)["data"]["factors"][0].__setitem__(0, "sms_" + "a" * 16),
        "invalid, or an id of another account",
    ),
    "factor with a step before the first": (field("factors", "step", "-1"), "step is '-1'"),
    "key twice": (twice("peps"), "occurs twice"),
    "user is invited as well": (invited_member, "occurs twice"),
    "no administrator": (all_marketers, "no_administrator"),
    "no active administrator": (all_suspended, "no_administrator"),
    "same e-mail twice": (same_email, "email_twice"),
    "invitation to a member's e-mail": (invited_email, "email_twice"),
    "role that no policy has": (field("users", "role", "god"), "'god', which the policy does not declare"),
    "invited to a role that no policy has": (field("invitations", "role", "god"), "'god'"),
    "role is no name": (field("users", "role", "a b"), "role is 'a b'"),
    "status is root": (field("users", "st", "root"), "st is 'root'"),
    "status is invited": (field("users", "st", "invited"), "st is 'invited'"),
    "verified is a word": (field("users", "ev", "yes"), "ev is 'yes'"),
    "name with an escape": (field("users", "name", "\x1b[2J"), "name is"),
    "name with half a character": (field("users", "name", "\ud800"), "name is"),
    "password hash with half a character": (field("users", "pw", "\udcff"), "pw is not"),
    "time of another age": (field("users", "created", "9" * 15), "created is"),
    "labels in another order": (field("a", "labels", "b=1 a=2"), "labels is 'b=1 a=2'"),
    "too many labels": (field("a", "labels", " ".join(f"l{n:02}=x" for n in range(17))), "at most 16 labels"),
    "account suspended by a word": (field("a", "st", "deleted"), "st is 'deleted'"),
    "cap is a word": (field("a", "cap", "many"), "cap is 'many'"),
    "no seat": (field("a", "cap", "0"), "cap is '0'"),
    "another id": (field("a", "id", "acc_aaaaaaaaaaaa"), "acc_aaaaaaaaaaaa"),
    "no name": (field("a", "name", " "), "name is ' '"),
    "name of another account": (same_name, "has the name"),
    "account twice": (same_account, "twice"),
    "changes are a word": (field("a", "seq", "many"), "seq is 'many'"),
    "invitation without an end": (without("invitations", "exp"), "no field exp"),
    "invitation that never ends": (field("invitations", "exp", "inf"), "exp is 'inf'"),
    "invited by nobody there is": (field("invitations", "by", "root"), "by is 'root'"),
    "key with every scope there is not": (field("peps", "scopes", "evaluate root"), "scopes is 'evaluate root'"),
    "key without a scope": (field("peps", "scopes", ""), "scopes is ''"),
    "key without a rate": (field("peps", "rate", "0"), "rate is '0'"),
    "key of another id": (field("peps", "id", "pep_aaaaaaaaaaaa_bbbbbbbbbbbb"), "its record has the id"),
    "keys of one name": (pep_name_twice, "occurs twice"),
    "link of a subject that is no digest": (lambda e: put(account(e)["data"]["links"], "a:b", "x"), "'a:b'"),
    "link to another account": (link_to("usr_aaaaaaaaaaaa_bbbbbbbbbbbb"), "usr_aaaaaaaaaaaa_bbbbbbbbbbbb"),
    "link to nobody": (linked_nobody, "link_without_user"),
    "two subjects of one issuer": (second_subject, "occurs twice"),
    "seal beyond the rows": (lambda e: account(e)["data"].update(seal=["n", "900", "hash", "a" * 64]), "sealed at 900"),
    "seal without a hash": (lambda e: account(e)["data"].update(seal=["n", "1"]), "lacks a number or a hash"),
    "audit with a gap": (gap, "audit_gap"),
    "audit lost": (lost_rows, "audit_gap"),
    "audit out of place": (rows_of_another, "do not follow"),
    "audit row of number zero": (lambda e: rows(e)[0].__setitem__(0, "0-0"), "'0-0'"),
    "audit row of no number": (lambda e: rows(e)[0].__setitem__(0, "*"), r"'\*'"),
    "audit row lacks a field": (lambda e: drop(rows(e)[0][1], "addr"), "no field addr"),
    "audit row of a word": (lambda e: put(rows(e)[0][1], "t", "now"), "t is 'now'"),
    "audit detail is no JSON": (lambda e: put(rows(e)[0][1], "before", "{"), "before is"),
    "too many rows in a line": (lambda e: rows(e).extend(rows(e)[:1] * 1001), "audit rows in one line"),
    "head with more": (lambda e: e[0].update(note=""), "unknown member 'note'"),
    "head without a time": (lambda e: e[0].update(taken="now"), "taken is a string"),
    "head of a truth value": (lambda e: e[0].update(taken=True), "taken is a boolean"),
    "line is a list": (lambda e: e.append(b"[]\n"), "is a list, not an object"),
    "line is no JSON": (lambda e: e.append(b"{\n"), "not valid JSON"),
    "line is no UTF-8": (lambda e: e.append(b'{"\xff": 1}\n'), "not valid JSON"),
    "line of nests": (lambda e: e.append(b"[" * 100_000 + b"\n"), "not valid JSON"),
    "member of a line twice": (lambda e: e.append(b'{"account": "a", "account": "b"}\n'), "repeats a member"),
    "line is empty": (lambda e: e.append(b"\n"), "not valid JSON"),
}


@pytest.mark.parametrize("crafted", CRAFTED)
async def test_a_crafted_backup_is_rejected_with_line_value_and_remedy(entries, there, town_class, tmp_path, crafted):
    change, said = CRAFTED[crafted]
    await town_class(there, random.Random(1).randbytes).account(name="Mine", email="q@example.com")
    before = await contents(there)
    change(entries)
    file = sealed(tmp_path / "crafted", entries)

    with pytest.raises(InvalidBackupError, match=said) as rejected:
        await Backup(there).load(file, rules=RULES)

    message = str(rejected.value)
    assert re.match(rf"{re.escape(str(file))}:\d+: ", message), "the line"
    assert "; nothing was changed: " in message, "the remedy"
    assert "\n" not in message
    assert "hash-0" not in message, "no secret"
    assert await contents(there) == before, "byte for byte"


async def test_the_line_in_the_message_is_the_line_of_the_fault(entries, there, tmp_path):
    at = next(number for number, entry in enumerate(entries, 1) if entry is account(entries))
    put(members(entries)[0][1], "tv", "x")
    with pytest.raises(InvalidBackupError, match=rf"crafted:{at}: user {members(entries)[0][0]}: tv is 'x'"):
        await Backup(there).load(sealed(tmp_path / "crafted", entries))


async def test_a_count_at_the_end_that_is_another_is_rejected(entries, there, tmp_path):
    with pytest.raises(InvalidBackupError, match="counts 7 accounts, the file has 2"):
        await Backup(there).load(sealed(tmp_path / "crafted", entries, accounts=7))


async def test_a_line_longer_than_any_account_is_not_read(entries, there, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_LINE", 10_000)
    with pytest.raises(InvalidBackupError, match=r":1: the line has more than 10,000 bytes"):
        archive.read(sealed(tmp_path / "crafted", [b"x" * 20_000]))


async def test_a_value_in_a_message_is_bounded(entries, there, tmp_path):
    put(members(entries)[0][1], "role", "x" * 100_000)
    with pytest.raises(InvalidBackupError) as rejected:
        await Backup(there).load(sealed(tmp_path / "crafted", entries))
    assert len(str(rejected.value)) < 500 + len(str(tmp_path))


async def test_a_secret_that_is_malformed_is_not_shown(entries, there, tmp_path):
    put(members(entries)[0][1], "pw", "a secret with spaces")
    with pytest.raises(InvalidBackupError, match="pw is not") as rejected:
        await Backup(there).load(sealed(tmp_path / "crafted", entries))
    assert "spaces" not in str(rejected.value)


# Mutations ------------------------------------------------------------------------------------------------------------

VALUES = [
    "", "0", "1", "-1", "2", "77", "1e9", "inf", "nan", "9" * 15, "9" * 30, "x", "a:b", "\x00", "\ud800", "é",
    "ada@example.com", "b@example.com", "account-administrator", "marketer", "active", "suspended", "invited",
    "deleted", "usr_aaaaaaaaaaaa_bbbbbbbbbbbb", "x" * 5000,
    None, True, False, 0, 1, -5, 1.5, 10**30, [], {}, [[]], ["a", "b"], {"a": 1},
]  # fmt: skip


def nodes(value, home=None, at=None):
    """Return every place in a value: its container and its key."""
    if home is not None:
        yield home, at
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from nodes(item, value, key)


def mutate(chance, entries):
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        places = list(nodes(entries))
        home, at = chance.choice(places)
        other, there = chance.choice(places)
        kind = chance.randrange(8)
        if kind <= 2:
            home[at] = copy.deepcopy(chance.choice(VALUES))
        elif kind == 3:
            home[at] = copy.deepcopy(other[there])
        elif kind == 4:
            del home[at]
        elif kind == 5 and isinstance(home, list):
            home.insert(at, copy.deepcopy(home[at]))
        elif kind == 6:
            home[at], other[there] = copy.deepcopy(other[there]), copy.deepcopy(home[at])
        elif isinstance(home[at], str) and home[at]:
            cut = chance.randrange(len(home[at]))
            home[at] = home[at][:cut] + chance.choice(["", "0", "1", "a", "-", "é"]) + home[at][cut + 1 :]


async def readable(store):
    """Decode every part of an account that the sidecar reads."""
    for value in (await store.client.hgetall(keys.names())).values():
        await Users(store).roster(value)
        await Peps(store).listing(value)
        await Audit(store).page(value, limit=500)


async def test_no_mutated_backup_makes_a_store_that_fails_fsck(entries, tmp_path):
    outcomes = {"rejected": 0, "restored": 0}
    for seed in range(MUTATIONS):
        mutated = copy.deepcopy(entries)
        mutate(random.Random(seed), mutated)
        file = sealed(tmp_path / "mutated", mutated)
        async with another_store(random.Random(seed).randbytes) as store:
            before = await contents(store)
            try:
                await Backup(store).load(file)
            except InvalidBackupError:
                outcomes["rejected"] += 1
                assert await contents(store) == before, f"seed {seed}: a rejected restore wrote"
            else:
                outcomes["restored"] += 1
                found = [finding for finding in (await Fsck(store).run()).findings if not finding.is_note]
                assert found == [], f"seed {seed}"
                await readable(store)
    assert min(outcomes.values()) > MUTATIONS // 50, f"both outcomes must occur: {outcomes}"


# The tables -----------------------------------------------------------------------------------------------------------

_WRITTEN = re.compile(
    r"'HSET',\s*(home|ACCT|key\('(?:u|i|pep):' \.\. [\w.]+\)|seal|key\('log:seal'\)),((?:[^()]|\([^()]*\))*)\)"
)


def test_every_field_that_a_script_writes_is_known_to_a_backup():
    """A new field of a record would make every later backup unusable."""
    known = {
        name for table in ("ACCOUNT", "USER", "INVITATION", "PEP", "SEAL") for name in getattr(archive_forms, table)
    }
    written = set()
    for name in scripts.names():
        text = files("sidecar.store").joinpath("scripts", f"{name}.lua").read_text(encoding="utf-8")
        for _, words in _WRITTEN.findall(text):
            flat = re.sub(r"\([^()]*\)", "", " ".join(words.split())).split(",")
            written |= {word.strip().strip("'") for word in flat[::2] if word.strip().startswith("'")}
    assert {"tv", "pw", "th", "cap", "seen", "scopes", "anchor"} <= written, "the scan finds fields"
    assert written - known == set()


# Names ----------------------------------------------------------------------------------------------------------------


async def test_names_are_read_once_and_calls_grow_with_accounts_alone(town, there, tmp_path, monkeypatch):
    """10,000 accounts took 104 s: each read the names of all."""
    for number in range(40):
        await town.account(name=f"Account {number}", email=f"u{number}@example.com")
    await Backup(town.store).save(tmp_path / "backup")
    reads, calls, seen = [], [], []
    pairs = there.pairs

    async def counted(*words):
        reads.append(words)
        return await pairs(*words)

    monkeypatch.setattr(there, "pairs", counted)
    monkeypatch.setattr(there, "on_request", lambda name, _seconds: calls.append(name))

    restored = await Backup(there).load(tmp_path / "backup", progress=lambda done, all_: seen.append((done, all_)))

    assert restored == Restored(40, 40)
    assert reads.count(("HGETALL", keys.names())) == 1
    assert len(calls) - calls.count("hints_add") - calls.count("data_set") == 4 * 40
    assert calls.count("hints_add") == 3, "one per batch"
    assert seen[-1] == (40, 40)
    assert seen == sorted(seen)


async def test_accounts_with_exchanged_names_are_both_restored(town, tmp_path):
    first = await town.account(name="One", email="a@example.com")
    second = await town.account(name="Two", email="b@example.com")
    await Backup(town.store).save(tmp_path / "backup")
    for record, name in ((first, "Two"), (second, "One")):
        await town.store.change("HSET", keys.account(record.account, town.store.partitions), "name", name)
        await town.store.change("HSET", keys.names(), keys.folded(name), record.account)

    assert await Backup(town.store).load(tmp_path / "backup") == Restored(2, 2)

    assert (await town.accounts.find("One")).id == first.account
    assert (await town.accounts.find("Two")).id == second.account
    assert (await Fsck(town.store).run()).findings == []


async def test_a_skipped_account_and_those_after_it_keep_their_names(town, tmp_path):
    """B has A's former name, and A's own name is in use: neither can return without taking a name."""
    first = await town.account(name="A", email="a@example.com")
    second = await town.account(name="B", email="b@example.com")
    await Backup(town.store).save(tmp_path / "backup")
    home = town.store.partitions
    await town.store.change("HDEL", keys.names(), "a", "b")
    for record, name in ((first, "B"), (second, "C")):
        await town.store.change("HSET", keys.account(record.account, home), "name", name)
        await town.store.change("HSET", keys.names(), keys.folded(name), record.account)
    stranger = await town.account(name="A", email="s@example.com")
    before = await contents(town.store) if town.store.client is not None else None

    restored = await Backup(town.store).load(tmp_path / "backup")

    assert set(restored.skipped) == {first.account, second.account}
    assert (await town.accounts.find("A")).id == stranger.account
    assert (await town.accounts.find("B")).id == first.account
    assert (await town.accounts.find("C")).id == second.account
    assert before is None or before.keys() <= (await contents(town.store)).keys()
    assert (await Fsck(town.store).run()).findings == []


async def test_rows_exported_and_trimmed_during_a_backup_are_reread(town, tmp_path, monkeypatch):
    """Otherwise the file's seal is older than its first row, and the file is rejected when it is needed."""
    admin = await town.account()
    home = keys.account(admin.account, town.store.partitions)
    backup, calls = Backup(town.store), []
    rows_of = backup._rows

    async def trimming(account, after):
        calls.append(after)
        if len(calls) == 1:
            await town.store.run(
                "audit_seal", [f"{home}:log", f"{keys.feed(0)}:open"], ["0", "", "1", "a" * 64, "0"], write=True
            )
        return await rows_of(account, after)

    monkeypatch.setattr(backup, "_rows", trimming)
    await backup.save(tmp_path / "backup")
    _, (one,) = archive.read(tmp_path / "backup")
    assert (one.seal["n"], one.rows[0].seq) == ("1", 2)


def test_an_exception_of_the_archive_is_one_of_the_backup():
    assert InvalidBackupError is archive_records.InvalidBackupError


async def test_what_a_reply_says_besides_does_not_go_into_a_backup(town, tmp_path, monkeypatch):
    """A script's reply may gain a member; a backup with it would be rejected."""
    await town.account()

    async def wordy(*args, **rest):
        return {**await run_read(*args, **rest), "n": "7"}

    monkeypatch.setattr("sidecar.store.maintenance.backup.run_read", wordy)
    await Backup(town.store).save(tmp_path / "backup")
    assert len(archive.read(tmp_path / "backup")[1]) == 1
