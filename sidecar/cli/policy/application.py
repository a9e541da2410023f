"""One application of a policy to the fleet: candidate, answers of the sidecars, switch (fleet.md, section 1).

Nothing changes unless every sidecar is ready. Every end names what blocked it and what to do.
"""

import asyncio
import getpass
import socket
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sidecar.cli.output import answer_no
from sidecar.cli.policy.shadow import Shadowed, require_current, shadowed
from sidecar.config.parsers import PolicySource
from sidecar.policy.generation import Generation
from sidecar.policy.transfer.packing import MAX_BYTES, digest_of, pack
from sidecar.server.admin_context import AdminContext
from sidecar.store.connection import StoreUnavailableError
from sidecar.store.generation_records import GenerationTerms, MarkState, PolicyCandidate, SidecarMark
from sidecar.store.live.fleet import Revocation
from sidecar.store.policy_generations import Activated, NotActivated, PolicyGenerations
from sidecar.store.policy_history import PolicyHistory
from sidecar.store.role_holders import RoleHolders
from sidecar.telemetry.tracing import waiting

INTERVAL: Final = 0.05
SPARE_SECONDS: Final = 60.0
"""Life of a candidate beyond the wait: an interrupted command leaves it for no longer."""
SHADOW_KEPT_SECONDS: Final = 86_400.0
"""Time after a shadow in which `policy apply GENERATION` finds its candidate."""
MAX_NOTE: Final = 500


@dataclass(frozen=True, slots=True)
class Application:
    """Generation to apply. ``wait``: seconds for the sidecars. ``without``: silent sidecars to pass by.

    ``shadow``: seconds of a shadow before; then only ``switch_if_unchanged`` switches.
    """

    generation: Generation
    note: str
    wait: float
    without: frozenset[str]
    signature: str = ""
    shadow: float = 0
    switch_if_unchanged: bool = False
    counter: int = 0
    """Counter of the signature; 0 without one: the time, or one above that of the active generation."""


@dataclass(frozen=True, slots=True)
class Applied:
    """Result of a switch."""

    generation: str
    before: str
    revision: int
    sidecars: int
    passed: tuple[str, ...]
    effect: Revocation


async def apply_to(operator: AdminContext, application: Application) -> Applied | Shadowed:
    """Apply a generation, or end with its shadow. Raises CliError when it does not come into force; then nothing has
    changed."""
    generations = PolicyGenerations(operator.store, operator.pepper)
    packed = pack(application.generation.files)
    if len(packed) > MAX_BYTES:
        raise answer_no(f"the files have {len(packed):,} bytes: the store takes {MAX_BYTES:,}: use * and inheritance")
    await _require_followers(operator)
    unheld = await _unheld_roles(operator, application.generation)
    active = (await generations.look()).active
    terms = _terms(application, packed, active.terms.counter if active else 0)
    kept = SHADOW_KEPT_SECONDS if application.shadow else SPARE_SECONDS
    seconds = application.wait + application.shadow + kept
    candidate = await generations.store_candidate(terms, packed, seconds=seconds, shadow=application.shadow)
    shadow: Shadowed | None = None
    done: Activated | None = None
    try:
        if application.shadow:
            shadow = await _shadow(generations, candidate, application)
        if shadow is not None and not (application.switch_if_unchanged and shadow.is_unchanged):
            return shadow
        done = await _switched(generations, candidate, application, unheld)
    finally:
        if done is None and shadow is None:
            with suppress(StoreUnavailableError):  # it expires by itself
                await generations.withdraw(candidate)
    with waiting("policy effect"):
        effect = await operator.people.fleet.wait_applied(done.position)
    before = active.terms.id if active else ""
    return Applied(terms.id, before, done.position.n, effect.sidecars, done.passed, effect)


async def _shadow(generations: PolicyGenerations, candidate: PolicyCandidate, application: Application) -> Shadowed:
    with waiting("policy votes"):
        await _all_ready(generations, candidate, application)
    with waiting("policy shadow"):
        return await shadowed(generations, candidate)


def _terms(application: Application, packed: bytes, active: int) -> GenerationTerms:
    counter = application.counter or max(time.time_ns() // 1_000_000, active + 1)
    return GenerationTerms(
        application.generation.id, digest_of(packed), counter, application.signature, _operator(), application.note
    )


def _operator() -> str:
    """Return user and host of this command, for the history."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):  # a container without an entry for its user
        return socket.gethostname()


async def _require_followers(operator: AdminContext) -> None:
    """Raise CliError unless there are live sidecars, and all of them take their policy from the store."""
    members = await operator.people.fleet.members()
    if not members:
        raise answer_no("no sidecar is live, so none could accept it: start one with SIDECAR_POLICY_SOURCE=store")
    others = [str(one["id"]) for one in members if one.get("source") != PolicySource.STORE]
    if others:
        raise answer_no(
            f"{', '.join(others)}: policy from their own files: set SIDECAR_POLICY_SOURCE=store and restart them"
        )


async def _unheld_roles(operator: AdminContext, generation: Generation) -> Collection[str]:
    """Return the roles of earlier generations that this one lacks. Raises CliError if users hold one (R26)."""
    gone = await PolicyHistory(operator.store).roles() - generation.roles.keys()
    held = await RoleHolders(operator.store).holding(gone) if gone else {}
    for role, count in sorted(held.items()):
        raise answer_no(_role_in_use(role, f"{count} users hold or are invited to"))
    return gone


def _role_in_use(role: str, holders: str) -> str:
    return f'{holders} "{role}", which the files do not declare: assign another role first (sidecar user set-role)'


async def _switched(
    generations: PolicyGenerations, candidate: PolicyCandidate, application: Application, unheld: Collection[str]
) -> Activated:
    """Wait for every answer, then switch. Raises CliError."""
    end = time.monotonic() + application.wait
    while True:
        with waiting("policy votes"):
            await _all_ready(generations, candidate, application)
        done = await generations.activate(
            candidate, application.generation, without=application.without, unheld=unheld, by=candidate.terms.by
        )
        if isinstance(done, Activated):
            return done
        _require_retriable(done)
        if time.monotonic() >= end:
            raise answer_no("; ".join(_blockers(done.marks, application)) + ": nothing was changed")
        await asyncio.sleep(INTERVAL)


async def _all_ready(generations: PolicyGenerations, candidate: PolicyCandidate, application: Application) -> None:
    """Wait until every sidecar is ready or passed by. Raises CliError at the end of the wait, and for a rejection."""
    end = time.monotonic() + application.wait
    while True:
        found = await generations.look(application.without)
        require_current(found, candidate)
        states = {mark.state for mark in found.marks}
        if MarkState.READY in states and states <= {MarkState.READY, MarkState.PASSED}:
            return
        if time.monotonic() >= end or (MarkState.REJECTED in states and MarkState.WAITING not in states):
            raise answer_no("; ".join(_blockers(found.marks, application)) + ": nothing was changed")
        await asyncio.sleep(INTERVAL)


def _require_retriable(refused: NotActivated) -> None:
    """Raise CliError for a rejection that waiting does not end."""
    match refused.code:
        case "not_ready" | "moved":
            return
        case "counter_behind":
            message = f"a generation with counter {refused.detail} was applied meanwhile: nothing was changed"
        case "role_in_use":
            message = _role_in_use(refused.detail, "users hold or are invited to")
        case "roles_changed":
            message = f'another generation with the role "{refused.detail}" was applied meanwhile: run it again'
        case _:
            message = "another application replaced this one: nothing was changed; run the command again"
    raise answer_no(message)


def _blockers(marks: Collection[SidecarMark], application: Application) -> Iterator[str]:
    """Yield each sidecar that is not ready, with its reason."""
    if not any(mark.state is MarkState.READY for mark in marks):
        yield "no live sidecar is ready"
    for mark in marks:
        match mark.state:
            case MarkState.REJECTED:
                yield f"{mark.id} rejects it: {mark.reason}"
            case MarkState.WAITING if mark.id in application.without:
                yield f"{mark.id} is live: --without passes a sidecar by only after its lease has run out"
            case MarkState.WAITING:
                yield f"{mark.id} has not answered within {application.wait:g} s: see its log"
            case MarkState.SILENT:
                since = f" for {mark.reason} s" if mark.reason else ""
                yield f"{mark.id} is silent{since} and did not sign off: --without {mark.id} passes it by"
            case MarkState.READY | MarkState.PASSED:
                pass
