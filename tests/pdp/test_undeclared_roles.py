"""Roles that users hold and the active policy lacks: named at the start, and until no user holds them."""

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sidecar.pdp.undeclared_roles import RECHECK_SECONDS, RETRY_SECONDS, UndeclaredRoles
from sidecar.store.connection import StoreUnavailableError

POLICY: Any = SimpleNamespace(generation=SimpleNamespace(roles={"admin": None, "member": None}))


class Holders:
    """Answers in order; None is an outage."""

    def __init__(self, *answers: Mapping[str, int] | None) -> None:
        self.answers = list(answers)
        self.asked: list[set[str]] = []

    async def undeclared(self, declared: Collection[str]) -> Mapping[str, int]:
        self.asked.append(set(declared))
        answer = self.answers.pop(0)
        if answer is None:
            raise StoreUnavailableError("out")
        return answer


async def run(holders: Any, shared: Path | None = None) -> tuple[UndeclaredRoles, list[float], list[tuple[str, ...]]]:
    pauses: list[float] = []
    warnings: list[tuple[str, ...]] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        warnings.append(roles.warnings)

    roles = UndeclaredRoles(POLICY, holders, sleep=sleep, shared=shared)
    await roles.run()
    return roles, pauses, warnings


async def test_without_a_finding_all_users_are_read_once() -> None:
    holders = Holders({})
    roles, pauses, _ = await run(holders)
    assert (roles.warnings, pauses, holders.asked) == ((), [], [{"admin", "member"}])


async def test_a_role_is_named_until_nobody_holds_it(capsys: Any) -> None:
    holders = Holders(None, {"auditor": 2}, {"auditor": 2}, {"auditor": 1}, {})
    roles, pauses, warnings = await run(holders)
    assert pauses == [RETRY_SECONDS, RECHECK_SECONDS, RECHECK_SECONDS, RECHECK_SECONDS]
    assert warnings[1][0].startswith('2 users hold or are invited to "auditor", which the policy does not declare')
    assert roles.warnings == ()
    logged = [line for line in capsys.readouterr().out.splitlines() if "users hold a role" in line]
    assert len(logged) == 2, "once per number of users"


async def test_one_worker_of_a_supervisor_reads_the_users(tmp_path: Path) -> None:
    first, second = Holders({}), Holders({})
    kept = await run(first, tmp_path)
    await run(second, tmp_path)
    assert (len(first.asked), len(second.asked)) == (1, 0)
    assert kept[0].warnings == ()
    await asyncio.sleep(0)
