"""Policy in force, for an operator's commands: that of the live sidecars, else the one that the next start would serve.

The files of this machine may be newer, rejected, or of another machine. Every check denies a role from such files.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from sidecar.config.parsers import PolicySource
from sidecar.config.settings import Settings
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.declarations import Role
from sidecar.policy.generation import Generation, content_hash
from sidecar.server.admin_context import AdminContext, PolicyFilesError, generation
from sidecar.sources import last_known_good
from sidecar.sources.policy_files import stamp_of
from sidecar.sources.private_files import PrivateFileError
from sidecar.store.policy_generations import GenerationFilesError, PolicyGenerations
from sidecar.store.policy_history import PolicyHistory, PolicyRoles
from sidecar.store.role_holders import RoleHolders

FRESH_SECONDS: Final = 5.0
"""Age of the files up to which their activation is awaited."""
WAIT_SECONDS: Final = 2.5
"""Longest wait. A sidecar activates or rejects a changed file within two seconds."""
INTERVAL: Final = 0.1


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """Generation to decide with. ``warning``: why it is not that of the files; empty if it is."""

    generation: Generation
    warning: str = ""


async def policy_in_force(operator: AdminContext) -> PolicyInForce:
    """Return the policy in force. Raises PolicyFilesError, StoreUnavailableError."""
    settings = operator.settings
    files, problem = await asyncio.to_thread(_of_files, settings)
    history = PolicyHistory(operator.store)
    current = await history.current()
    live = await operator.people.fleet.members()
    followers = any(member.get("source") == PolicySource.STORE for member in live)
    if settings.policy_source is PolicySource.STORE or followers:
        return PolicyInForce(await active_of_store(operator))
    if current is None or not live:
        return await _of_next_start(operator, history, files, problem)
    if files is not None and files.id != current.generation and _are_fresh(settings):
        current = await _awaited(operator, history, files.id) or current
    if files is not None and files.id == current.generation:
        return PolicyInForce(files)
    served = f"the sidecars serve generation {current.generation} (sidecar policy status)"
    kept = await asyncio.to_thread(_kept, settings, current.generation)
    if kept is not None:
        return PolicyInForce(kept, f"the policy files are not in force: {served}")
    if files is None:
        raise PolicyFilesError(f"{problem}; {served}")
    limited = replace(files, roles=MappingProxyType(_in_both(files.roles, current)))
    return PolicyInForce(limited, f"the policy files (generation {files.id}) are not in force: {served}")


async def active_of_store(operator: AdminContext) -> Generation:
    """Return the active generation of the store. Raises PolicyFilesError, StoreUnavailableError."""
    generations = PolicyGenerations(operator.store, operator.pepper)
    active = (await generations.look()).active
    if active is None or not active.is_authentic(operator.pepper):
        raise PolicyFilesError("the store has no active generation: start a sidecar with SIDECAR_POLICY_SOURCE=store")
    try:
        files = await generations.files(active.terms)
    except GenerationFilesError as problem:
        raise PolicyFilesError(str(problem)) from None
    compiled = compile_policy(files, proof=ProofScope.NONE)
    if compiled.generation is None:
        raise PolicyFilesError(f"the active generation {active.terms.id} does not compile with this version")
    return compiled.generation


def _of_files(settings: Settings) -> tuple[Generation | None, str]:
    try:
        return generation(settings), ""
    except PolicyFilesError as problem:
        return None, str(problem)


def _kept(settings: Settings, wanted: str | None = None) -> Generation | None:
    """Return the last good policy of this state directory, if it is the wanted generation."""
    with suppress(OSError, PrivateFileError):
        files = last_known_good.kept(settings.state_dir)
        if files is not None and wanted in (None, content_hash(files)):
            return compile_policy(files, proof=ProofScope.NONE).generation
    return None


def _in_both(roles: Mapping[str, Role], current: PolicyRoles) -> dict[str, Role]:
    return {
        name: replace(role, assignable=role.assignable and name in current.assignable)
        for name, role in roles.items()
        if name in current.roles
    }


def _are_fresh(settings: Settings) -> bool:
    changed = max((one.changed for one in stamp_of(settings.policy_dir, settings.model)), default=0)
    return time.time() - changed / 1e9 < FRESH_SECONDS


async def _awaited(operator: AdminContext, history: PolicyHistory, wanted: str) -> PolicyRoles | None:
    """Wait until the files of a recent edit are in force, or a sidecar rejects them."""
    end = time.monotonic() + WAIT_SECONDS
    current = None
    while time.monotonic() < end:
        current = await history.current()
        members = await operator.people.fleet.members()
        if (current is not None and current.generation == wanted) or any(
            one.get("state") != "current" for one in members
        ):
            break
        await asyncio.sleep(INTERVAL)
    return current


async def _of_next_start(
    operator: AdminContext, history: PolicyHistory, files: Generation | None, problem: str
) -> PolicyInForce:
    """Return the generation of the files if a start would accept them, else the last good one."""
    if files is not None:
        gone = await history.roles() - files.roles.keys()
        held = await RoleHolders(operator.store).holding(gone)
        if not held:
            return PolicyInForce(files)
        problem = f'users hold "{min(held)}", which the policy files do not declare'
    kept = await asyncio.to_thread(_kept, operator.settings)
    if kept is not None:
        return PolicyInForce(kept, f"the next start serves generation {kept.id}, the last good one: {problem}")
    if files is None:
        raise PolicyFilesError(problem)
    return PolicyInForce(files, problem)
