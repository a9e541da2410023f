"""Checks in memory under a policy with own segments: two accounts, and users of several roles in each."""

from types import SimpleNamespace

from sidecar.domain.users import AccountId, Status, UserId, UserRecord
from sidecar.http.context import AppContext
from sidecar.pdp.decision_point import DecisionPoint
from sidecar.pdp.token_cache import TokenCache
from sidecar.policy.compiler import compile_policy
from sidecar.policy.generation import Generation
from sidecar.sources.policy_files import packaged, read_policy_files
from sidecar.tokens.claims import Claims
from sidecar.tokens.keyset import access_token
from sidecar.tokens.verify import Verifier
from tests.pdp_fixture import ISSUER, KEYS, NOW, SESSION, app, live
from tests.policy.own_policies import with_own

ACCOUNTS = (AccountId("acc_" + "a" * 12), AccountId("acc_" + "b" * 12))
ROLES = ("account-administrator", "accountant", "marketer", "developer")


def own_policy() -> Generation:
    found = compile_policy(with_own(read_policy_files(*packaged()).files))
    assert found.generation is not None, [str(one) for one in found.diagnostics]
    return found.generation


def record_of(account: AccountId, role: str) -> UserRecord:
    uid = UserId(f"usr_{account[4:]}_{role.replace('-', '')[:12]:x<12}")
    return UserRecord(uid, account, "u@example.com", "U", role, Status.ACTIVE, 1, 1, sessions=_LIVE)


_LIVE = {SESSION: live(NOW + 100_000)}


class OwnWorld:
    """A decision point over one user per account and role. ``cached``: False makes each check read the store."""

    def __init__(self, *, cached: bool = True) -> None:
        self.cached = cached
        self.users = {record.id: record for record in (record_of(a, r) for a in ACCOUNTS for r in ROLES)}
        self.policy = SimpleNamespace(generation=own_policy())
        self.pdp = DecisionPoint(
            self.policy,
            TokenCache(Verifier(KEYS, ISSUER, "dashboard", 900)),
            self,  # type: ignore[arg-type]
            clock=lambda: float(NOW),
        )
        shared = app()
        given = {name: getattr(shared, name) for name in AppContext.__dataclass_fields__}
        self.app = AppContext(**{**given, "policy": self.policy, "pdp": self.pdp})

    def user(self, account: int, role: str) -> UserRecord:
        return self.users[record_of(ACCOUNTS[account], role).id]

    def peek(self, uid: UserId) -> UserRecord | None:
        return self.users.get(uid) if self.cached else None

    async def read(self, uid: UserId, *, fresh: bool = False) -> UserRecord | None:
        return self.users.get(uid)


def token_of(record: UserRecord) -> str:
    claims = Claims(ISSUER, "dashboard", record.id, record.account, SESSION, "j", NOW, NOW + 900, 1)
    return access_token(KEYS, claims)
