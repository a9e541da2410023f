"""Is the sidecar fit to answer, and what would an operator want to know of it? Reads; changes nothing."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sidecar.pdp.activation import Activation
from sidecar.policy.diagnostics import Diagnostic
from sidecar.store.connection import StoreUnavailable

Ping = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Vitals:
    """``proven``: the store was reached and is ours (R22, R23); until then nothing is read from it and nothing written.

    ``lag`` is seconds since the change feed's last word; ``fleet`` lists the live sidecars; ``store_address`` holds no
    secret.
    """

    version: str
    policy: Activation
    ping: Ping
    lag: Callable[[], float]
    fleet: Callable[[], Awaitable[list[dict[str, Any]]]]
    lease: float
    store_address: str
    clock: Callable[[], float]
    started_at: float = field(init=False)
    proven: bool = False
    draining: bool = False

    def __post_init__(self) -> None:
        self.started_at = self.clock()

    async def failing(self) -> list[str]:
        """The checks that fail, by name; empty means ready."""
        failing = []
        if self.draining:
            failing.append("draining")
        if self.policy.generation is None:
            failing.append("policy")
        if not self.proven or not await self._store_answers():
            failing.append("store")
        elif self.lag() > self.lease:
            failing.append("feed")
        return failing

    async def report(self) -> dict[str, Any]:
        """``/status``: one flat object."""
        policy = self.policy
        answers = self.proven and await self._store_answers()
        return {
            "version": self.version,
            "uptime_s": round(self.clock() - self.started_at, 3),
            "generation": policy.generation.id if policy.generation else None,
            "state": policy.state.value,
            "loaded_at": datetime.fromtimestamp(policy.loaded_at, UTC).isoformat() if policy.loaded_at else None,
            "diagnostics": [diagnostic_body(found) for found in policy.diagnostics],
            "fleet": await self._fleet() if answers else [],
            "store": "ok" if answers else "unavailable",
            "store_address": self.store_address,
            "lag_s": round(self.lag(), 3) if answers else None,
        }

    async def _fleet(self) -> list[dict[str, Any]]:
        try:
            return await self.fleet()
        except StoreUnavailable:
            return []

    async def _store_answers(self) -> bool:
        try:
            await self.ping()
        except StoreUnavailable:
            return False
        return True


def diagnostic_body(found: Diagnostic) -> dict[str, Any]:
    """A diagnostic as JSON, in the API, the CLI and ``/status`` alike."""
    return {
        "severity": found.severity.value,
        "code": found.code.value,
        "file": found.file,
        "line": found.line,
        "column": found.column,
        "message": found.message,
        "hint": found.hint,
    }
