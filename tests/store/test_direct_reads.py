"""One gate for every read of the store: closed while its partition is known to be cut off, and compared
with the feed.
"""

import ast
import time
from pathlib import Path

import pytest

import sidecar
from sidecar.domain.peps import PepId, Scope
from sidecar.domain.users import Actor, UserId
from sidecar.identity.pep_keys import NewPep, PepKeys, PepMade, make
from sidecar.store import scripts
from sidecar.store.accounts import Accounts
from sidecar.store.errors import StoreUnavailableError
from sidecar.store.federated_identities import FederatedIdentities
from sidecar.store.integrity.partition_state import PartitionState, PartitionStates
from sidecar.store.invitations import Invitations
from sidecar.store.keys import META, feed, partition_meta
from sidecar.store.live.change_feed import FeedEntry, FeedReset
from sidecar.store.live.direct_reads import UNGATED_SCRIPTS
from sidecar.store.live.record_cache import RecordCache
from sidecar.store.live.replica import RecordReplica
from sidecar.store.live.revision_status import RevisionChecker
from sidecar.store.peps import PepCopies, Peps
from sidecar.store.policy_history import PolicyHistory
from sidecar.store.role_holders import RoleHolders
from sidecar.store.scripting import run_write
from sidecar.store.sessions import Sessions
from sidecar.store.users import Users
from sidecar.tokens.opaque import Pepper
from tests.memory_store import store_over

OPERATOR = Actor.operator()
PEPPER = Pepper(bytes(range(32)))
ROOT = Path(sidecar.__file__).parent


class Untouched:
    """A client that must not be called."""

    def __getattr__(self, name):
        raise AssertionError(f"the store was asked: {name}")


def refuse(_partition):
    raise StoreUnavailableError("the partition is known to be cut off")


def shut(store):
    store.gate.require = refuse


def reopen(store):
    store.gate.require = lambda _partition: None


@pytest.fixture
def closed():
    store = store_over(Untouched())
    shut(store)
    return store


KEY = feed(0)


@pytest.mark.parametrize("name", sorted(set(scripts.names()) - UNGATED_SCRIPTS))
async def test_no_script_reads_past_a_closed_gate(closed, name):
    with pytest.raises(StoreUnavailableError, match="cut off"):
        await closed.run(name, [KEY, KEY], {})


@pytest.mark.parametrize("words", [("GET", KEY), ("SMEMBERS", KEY), ("HGETALL", KEY), ("XRANGE", KEY, "-", "+")])
async def test_no_command_reads_past_a_closed_gate(closed, words):
    for ask in (closed.command, closed.pairs):
        with pytest.raises(StoreUnavailableError, match="cut off"):
            await ask(*words)


async def test_what_opens_the_gate_again_passes_it(closed):
    for name in UNGATED_SCRIPTS:
        with pytest.raises(AssertionError, match="the store was asked"):
            await closed.run(name, [KEY], ["a"])
    for ask in (closed.ping, lambda: closed.pairs("HGETALL", META), lambda: closed.pairs("HGETALL", partition_meta(0))):
        with pytest.raises(AssertionError, match="the store was asked"):
            await ask()


async def test_R49_a_partition_is_closed_for_itself_alone():
    store = store_over(Untouched())
    states = PartitionStates(clock=time.monotonic)
    store.gate.require = states.require
    states.report(3, PartitionState.REGRESSED, "older")
    with pytest.raises(StoreUnavailableError, match="partition 03 is regressed"):
        await store.run("roster", [feed(3)], {})
    with pytest.raises(AssertionError, match="the store was asked"):
        await store.run("roster", [feed(4)], {})


@pytest.mark.parametrize(("actor", "passes"), [(OPERATOR, True), (Actor.bearer(UserId("usr_a")), False)])
async def test_user_changes_are_gated_and_repairs_are_not(closed, actor, passes):
    raised, said = (AssertionError, "the store was asked") if passes else (StoreUnavailableError, "cut off")
    with pytest.raises(raised, match=said):
        await run_write(closed, "user_raise_epoch", "acc_a", actor)


READS = {
    "record": lambda store, who: Users(store).record(who.id),
    "live record": lambda store, who: RecordCache(store, lease=1, clock=time.monotonic).read(who.id),
    "roster": lambda store, who: Users(store).roster(who.account),
    "user by e-mail": lambda store, who: Users(store).find(who.account, who.email),
    "accounts of an e-mail": lambda store, who: Users(store).accounts_of(who.email),
    "credentials": lambda store, who: Users(store).credentials(who.account, who.email),
    "credentials by id": lambda store, who: Users(store).credentials_of(who.id),
    "sessions": lambda store, who: Sessions(store).listing(who.id),
    "account": lambda store, who: Accounts(store).find(who.account),
    "account by name": lambda store, who: Accounts(store).find("Acme"),
    "accounts": lambda store, who: Accounts(store).all(),
    "invitation": lambda store, who: Invitations(store).peek(who.id, digest="d"),
    "outside subject": lambda store, who: FederatedIdentities(store).find(who.account, "https://issuer.example", "s"),
    "PEP key": lambda store, who: PepCopies(store, live=lambda _: False).read(
        PepId(f"pep_{who.account[4:]}_{'a' * 12}")
    ),
    "PEP keys": lambda store, who: Peps(store).listing(who.account),
    "held roles": lambda store, who: RoleHolders(store).holding({"marketer"}),
    "roles of the past": lambda store, who: PolicyHistory(store).roles(),
    "revision": lambda store, who: RevisionChecker(
        store, RecordCache(store, lease=1, clock=time.monotonic), clock=time.monotonic
    ).reach(who.account, 7),
}
PER_ACCOUNT = sorted(set(READS) - {"accounts of an e-mail", "held roles", "roles of the past", "revision"})


@pytest.mark.parametrize("read", READS)
async def test_every_noun_reads_through_the_gate(town, read):
    admin = await town.account()
    await READS[read](town.store, admin)
    shut(town.store)
    with pytest.raises(StoreUnavailableError, match="cut off"):
        await READS[read](town.store, admin)
    reopen(town.store)
    await READS[read](town.store, admin)


@pytest.mark.parametrize("read", PER_ACCOUNT)
async def test_no_reader_accepts_a_store_behind_the_feed(town, read):
    """The store lost its last changes: its reply about an account is older than the change applied here."""
    admin = await town.account()
    records = RecordCache(town.store, lease=1, clock=time.monotonic)
    records.apply(0, FeedEntry(40, "user", admin.account, admin.id, 1, 1, ack=False))
    with pytest.raises(StoreUnavailableError, match="behind the feed"):
        await READS[read](town.store, admin)
    records.flush(FeedReset(0, 0, new_data_set=True))  # the feed has detected it, and starts anew
    await READS[read](town.store, admin)


async def test_R20_a_store_known_as_cut_off_admits_no_pep_key(town, monkeypatch, clock, entropy):
    """As the registration detects it: a master without its replicas rejects writes and still serves reads."""
    admin = await town.account()
    wanted = NewPep("reports", frozenset({Scope.EVALUATE}), 3600.0, 100)
    made = await make(Peps(town.store), PEPPER, admin.account, wanted, actor=OPERATOR, entropy=entropy)
    assert isinstance(made, PepMade)
    live = RecordReplica(town.store, id="a", lease=1, clock=clock.monotonic)
    copies = PepCopies(town.store, live=live.records.live)
    keys = PepKeys(copies, PEPPER, clock=time.time, monotonic=clock.monotonic)
    await live.fleet.register()
    assert (await keys.admit(made.key, Scope.EVALUATE)).id == made.pep.id

    async def without_replicas(*_arguments):
        raise StoreUnavailableError("the store returned an error: NOREPLICAS", answered=True, refused=True)

    with monkeypatch.context() as patch:
        patch.setattr(live.fleet, "_send_registration", without_replicas)
        await live.fleet.register()
    with pytest.raises(StoreUnavailableError, match="refusing"):
        await keys.admit(made.key, Scope.EVALUATE)
    with pytest.raises(StoreUnavailableError, match="refusing"):
        await town.users.roster(admin.account)
    await live.fleet.register()
    assert (await keys.admit(made.key, Scope.EVALUATE)).id == made.pep.id


# By the program's text: code that could bypass the gate --------------------------------------------------------------

AROUND = {
    "servers": {
        "store/integrity/server_checks.py",
        "store/maintenance/fsck.py",
        "store/maintenance/backup.py",
        "store/maintenance/migrate.py",
        "store/integrity/acl_permissions.py",
    },
    "read_anyway": {
        *(f"store/integrity/{name}.py" for name in ("journal", "recovery", "recovering")),
        "store/last_good_policy.py",
    },
    "listening": {"store/live/change_feed.py"},
    "execute_command": {
        "store/connection.py",
        "store/live/change_feed.py",
        "store/servers/discovery.py",
        "store/servers/topology.py",
    },
    "evalsha": {"store/connection.py"},
    "eval": {"store/connection.py"},
    "masters": {"store/connection.py", "store/servers/topology.py"},
    "pipeline": {"store/connection.py"},
    "_reads": {"store/connection.py"},
    "_writes": {"store/connection.py"},
}
"""Attributes that reach a server, and the modules that may use each: the store itself; the feed, with its own guard; an
operator's checks of one server; the recovery of a closed partition (R48); a start without a policy, whose copy has a
code.
"""

OF_A_REQUEST = ("call", "sent", "self", "question", "context", "circumstances")
"""Names of values of a request, whose `client` is the user's address or the caller."""


def bypasses(root):
    found = []
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and name not in AROUND.get(node.attr, {name}):
                found.append(f"{name}:{node.lineno} .{node.attr}")
            if (
                isinstance(node, ast.Attribute)
                and node.attr == "client"
                and not (isinstance(node.value, ast.Name) and node.value.id in OF_A_REQUEST)
                and name.startswith(("pdp/", "identity/", "http/", "gateways/", "api/"))
            ):
                found.append(f"{name}:{node.lineno} .client")
    return found


WRITES = {
    "end of sessions": lambda town, who, me: town.sessions.end_others(who.id, me.session, me),
    "end of a session": lambda town, who, me: town.sessions.end(who.id, [town.sid()], me),
    "change": lambda town, who, me: town.users.change(me, who.id, name="New"),
    "removal": lambda town, who, me: town.users.remove(me, town.uid(who.account)),
}


@pytest.mark.parametrize("write", WRITES)
async def test_a_store_behind_the_feed_answers_no_user_change(town, write):
    """An emptied store has no sessions to end: that is no sign-out, because the known store may return."""
    admin = await town.account()
    me = await town.signed_in(admin)
    records = RecordCache(town.store, lease=1, clock=time.monotonic)
    records.apply(0, FeedEntry(40, "user", admin.account, admin.id, 1, 1, ack=False))
    with pytest.raises(StoreUnavailableError, match="behind the feed"):
        await WRITES[write](town, admin, me)
    records.flush(FeedReset(0, 0, new_data_set=True))
    await WRITES[write](town, admin, me)


def test_nobody_reads_past_the_gate():
    assert bypasses(ROOT) == []


def test_a_read_past_the_gate_is_found(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "users.py").write_text(
        "async def read(store):\n"
        "    found = await store._reads.client('k')\n"
        "    for server in await store.servers():\n"
        "        await server.client.execute_command('HGETALL', 'k')\n"
    )
    assert len(bypasses(tmp_path)) == 3


def test_every_store_command_asks_the_gate():
    """The reading methods of Store are those that call the gate; a new one must, too."""
    (store,) = [
        node
        for node in ast.parse((ROOT / "store" / "connection.py").read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == "Store"
    ]
    sends = {"_reads", "_writes"}
    admitted = {"run", "command"}
    inside = {"__init__", "_run", "change", "servers", "close"}  # behind ``run``; writes; one server; nothing sent
    inside |= {"read_anyway"}  # R48: the losses of a closed partition; no decision is made of its replies
    for method in store.body:
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
            attributes = {node.attr for node in ast.walk(method) if isinstance(node, ast.Attribute)}
            if attributes & sends or method.name in admitted:
                assert method.name in inside or "admit" in attributes, method.name
