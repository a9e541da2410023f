"""Checks in memory under a policy with needs: one clock, one user with a session, and both request paths."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from sidecar.domain.factors import FactorId
from sidecar.domain.sessions import LiveSession, Method, Proof
from sidecar.domain.users import UserId, UserRecord
from sidecar.http.client_ip import Network
from sidecar.http.context import AppContext, PublicConfig
from sidecar.pdp.decision_point import DecisionPoint
from sidecar.pdp.token_cache import TokenCache
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.generation import Generation
from sidecar.sources.policy_files import packaged, read_policy_files
from sidecar.tokens.verify import Verifier
from tests.pdp_fixture import ISSUER, KEYS, NOW, SESSION, app, user
from tests.policy.needs_policies import CONDITIONS, with_needs
from tests.policy.own_policies import with_own

BOB = user("b", "accountant").id
TOTP = FactorId("totp_" + "a" * 16)
PASSKEY = FactorId("passkey_" + "b" * 16)
PASSWORD = Proof(Method.PASSWORD, "", NOW)


def policy_with(lines: str, conditions: str = CONDITIONS, *, own: bool = False) -> Generation:
    """Return the shipped policy with these lines of needs.csv. ``own``: with own paths."""
    files: Mapping[str, bytes] = read_policy_files(*packaged()).files
    files = with_own(files) if own else files
    found = compile_policy(with_needs(files, lines, "", conditions), proof=ProofScope.NONE)
    assert found.draft is not None, found.diagnostics
    return found.draft


def need(asked: str, section: str = "billing", action: str = "view") -> str:
    """Return lines for an accountant: one for each part between commas."""
    return "".join(f"needs, accountant, {section}, {action}, {one.strip()}\n" for one in asked.split(","))


class NeedsWorld:
    """All facts of a check, for tests that change them between two checks."""

    def __init__(self, asked: str, *, trusted: tuple[Network, ...] = (), leeway: float = 0.0) -> None:
        self.now = float(NOW)
        self.users: dict[UserId, UserRecord] = {}
        self.enter(PASSWORD)
        shared = app()
        self.policy = SimpleNamespace(generation=policy_with(need(asked)))
        self.pdp = DecisionPoint(
            self.policy,
            TokenCache(Verifier(KEYS, ISSUER, "dashboard", 3600)),
            self,  # type: ignore[arg-type]
            clock=lambda: self.now,
            leeway=leeway,
        )
        config = shared.public_config
        public = {name: getattr(config, name) for name in PublicConfig.__dataclass_fields__}
        given = {name: getattr(shared, name) for name in AppContext.__dataclass_fields__}
        given |= {"policy": self.policy, "pdp": self.pdp}
        given["public_config"] = PublicConfig(**{**public, "trusted_proxies": trusted})
        self.app = AppContext(**given)

    def enter(self, *proofs: Proof, signed_in_at: int | None = None, **changed: Any) -> None:
        """Replace the user's record by one whose session has these proofs."""
        at = max((proof.at for proof in proofs), default=NOW) if signed_in_at is None else signed_in_at
        live = {SESSION: LiveSession(NOW + 100_000, at, proofs)}
        self.users[BOB] = user("b", "accountant", **{"sessions": live, **changed})

    def peek(self, uid: UserId) -> UserRecord | None:
        return self.users.get(uid)

    async def read(self, uid: UserId, *, fresh: bool = False) -> UserRecord | None:
        return self.users.get(uid)
