"""Generations in the store: files, candidate, answers of the sidecars, and the switch at one revision.

All keys are in partition 0, because a policy belongs to no account. Files are stored by their generation, base64 in
chunks. Readers compare them with the digest of a record that has a valid code.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sidecar.policy.generation import Generation, content_hash
from sidecar.policy.transfer.packing import UnpackError, digest_of, unpack
from sidecar.store import keys
from sidecar.store.codec import integer, items, pairs
from sidecar.store.connection import Store
from sidecar.store.generation_records import (
    ActiveRecord,
    GenerationTerms,
    MarkState,
    PolicyCandidate,
    SidecarMark,
    active_of,
    candidate_of,
)
from sidecar.store.integrity.feed_entries import fields_of
from sidecar.store.outcomes import Position
from sidecar.store.policy_history import actions_of
from sidecar.telemetry.tracing import current
from sidecar.tokens.opaque import Pepper

CHUNK: Final = 384 * 1024
REVISIONS: Final = 256
"""Revisions with a prepared code: changes of accounts may move the feed before the script runs."""
ATTEMPTS: Final = 20
MAX_CELLS: Final = 20_000
"""Cells up to which the opened and closed sections of a generation are recorded."""
MAX_SHOWN: Final = 1000
"""Applications that a history lists."""


class GenerationFilesError(Exception):
    """Raised for files that are missing in the store or are not those of their record. One sentence."""


@dataclass(frozen=True, slots=True)
class PolicyState:
    """State of partition 0. ``revision``: the feed's count. ``marks``: of the sidecars that the candidate waits for.

    ``found``: whether the store has an active generation, authentic or not. ``applied``: number of applications.
    """

    active: ActiveRecord | None
    found: bool
    candidate: PolicyCandidate | None
    marks: tuple[SidecarMark, ...]
    revision: int
    applied: int


@dataclass(frozen=True, slots=True)
class Activated:
    """Result of a switch. ``passed``: sidecars that were passed by."""

    position: Position
    passed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotActivated:
    """Rejected switch. ``code``: superseded, expired, counter_behind, not_ready, role_in_use, roles_changed or moved.

    ``detail``: the counter or role of that code. ``marks``: of code ``not_ready``.
    """

    code: str
    detail: str = ""
    marks: tuple[SidecarMark, ...] = ()


class PolicyGenerations:
    """Operations on the generations in the store. Every method raises StoreUnavailableError in an outage."""

    def __init__(self, store: Store, pepper: Pepper) -> None:
        self._store = store
        self._pepper = pepper

    async def look(self, without: Collection[str] = ()) -> PolicyState:
        """Return the active generation, the candidate and the answers to it, as stored: codes are not verified."""
        reply = await self._store.run("policy_look", _keys(), {"without": sorted(without)})
        active = dict(pairs(reply["active"]))
        return PolicyState(
            active=active_of(active),
            found=bool(active),
            candidate=candidate_of(dict(pairs(reply["candidate"]))),
            marks=_marks(reply["sidecars"]),
            revision=integer(reply["n"]),
            applied=integer(reply["history"]),
        )

    async def files(self, terms: GenerationTerms) -> dict[str, bytes]:
        """Return the files of a record, compared with its digest and id. Raises GenerationFilesError."""
        home = f"{keys.policy()}:g:{terms.id}"
        parts = await self._store.command("HGET", home, "parts")
        if parts is None:
            raise GenerationFilesError(f"the store has no files of generation {terms.id}")
        found = [await self._store.command("HGET", home, part) for part in range(int(parts))]
        try:
            packed = b"".join(b64decode(part or "", validate=True) for part in found)
            files = unpack(packed) if digest_of(packed) == terms.digest else {}
        except (ValueError, UnpackError):
            files = {}
        if content_hash(files) != terms.id:
            raise GenerationFilesError(f"the store's files of generation {terms.id} were changed")
        return files

    async def store_candidate(
        self, terms: GenerationTerms, packed: bytes, *, seconds: float, shadow: float = 0
    ) -> PolicyCandidate:
        """Store a candidate for all live sidecars to compile. It replaces an earlier one and ends after ``seconds``.

        ``shadow``: seconds in which the sidecars count the decisions that it would change. The attempt of a traced
        application is its ``traceparent``, so that each sidecar continues its trace.
        """
        span = current()
        attempt = self._store.request_id() if span is None else span.headers()["traceparent"]
        candidate = PolicyCandidate(terms, attempt, terms.candidate_code(self._pepper, attempt))
        times = {"ttl": str(round(seconds * 1000)), "shadow": str(round(shadow * 1000))}
        words = {**terms.fields(), "attempt": attempt, "code": candidate.code, **times}
        await self._run("policy_candidate", words, packed)
        return candidate

    async def withdraw(self, candidate: PolicyCandidate) -> None:
        """Remove a candidate that was not activated."""
        words = {"attempt": candidate.attempt}
        await self._store.run("policy_withdraw", _keys(), words, write=True)

    async def mark(self, candidate: PolicyCandidate, sidecar: str, state: MarkState, reason: str = "") -> None:
        """Write the answer of one sidecar."""
        mark = {"attempt": candidate.attempt, "id": candidate.terms.id, "state": state.value, "reason": reason}
        await self._store.change("HSET", f"{keys.policy()}:marks", sidecar, json.dumps(mark, ensure_ascii=False))

    async def report_shadow(self, candidate: PolicyCandidate, sidecar: str, report: Mapping[str, Any]) -> None:
        """Write what one sidecar has counted in the shadow of a candidate."""
        text = json.dumps({"attempt": candidate.attempt, **report}, ensure_ascii=False)
        await self._store.change("HSET", f"{keys.policy()}:shadow", sidecar, text)

    async def shadow_reports(self, candidate: PolicyCandidate) -> dict[str, dict[str, Any]]:
        """Return the newest report of each sidecar in the shadow of a candidate."""
        found = {}
        for sidecar, text in await self._store.pairs("HGETALL", f"{keys.policy()}:shadow"):
            report = json.loads(text)
            if report.get("attempt") == candidate.attempt:
                found[sidecar] = report
        return found

    async def activate(
        self,
        candidate: PolicyCandidate,
        generation: Generation,
        *,
        without: Collection[str] = (),
        unheld: Collection[str] = (),
        by: str,
    ) -> Activated | NotActivated:
        """Make the candidate active. ``unheld``: roles of earlier generations for which no holder was found.

        ``without``: silent sidecars to pass by. ``by``: source of the audit row.
        """
        words = {"attempt": candidate.attempt, "without": sorted(without), "unheld": sorted(unheld), "sidecar": by}
        reply = await self._switch("policy_activate", candidate.terms, generation, words)
        if reply["o"] != "active":
            detail = str(reply.get("counter") or reply.get("role") or "")
            return NotActivated(reply["o"], detail, _marks(reply.get("sidecars")))
        position = Position(0, integer(reply["n"]), reply.get("durable", True))
        return Activated(position, tuple(map(str, items(reply.get("passed")))))

    async def seed(self, terms: GenerationTerms, packed: bytes, generation: Generation, *, sidecar: str) -> bool:
        """Make a generation the first one of a store without any. Returns False if the store has one."""
        words = {**terms.fields(), "sidecar": sidecar}
        reply = await self._switch("policy_seed", terms, generation, words, packed)
        return bool(reply["o"] == "seeded")

    async def history(self, limit: int = MAX_SHOWN) -> list[ActiveRecord]:
        """Return the newest applications with a valid code, newest first."""
        rows = await self._store.command("XREVRANGE", f"{keys.policy()}:history", "+", "-", "COUNT", limit)
        found = (active_of(fields_of(raw)) for _, raw in rows)
        return [one for one in found if one is not None and one.is_authentic(self._pepper)]

    async def _switch(
        self,
        script: str,
        terms: GenerationTerms,
        generation: Generation,
        words: Mapping[str, object],
        packed: bytes | None = None,
    ) -> dict[str, Any]:
        """Run a script that switches, with codes for the next revisions, until one of them is the next."""
        reply: dict[str, Any] = {"o": "moved"}
        facts = _facts(generation)
        for _ in range(ATTEMPTS):
            first = integer(await self._store.command("GET", f"{keys.feed(0)}:n") or 0) + 1
            codes = [terms.active_code(self._pepper, first + more) for more in range(REVISIONS)]
            arguments = {**facts, **words, "id": terms.id, "first": str(first), "codes": codes}
            reply = await self._run(script, arguments, packed)
            if reply["o"] != "moved":
                break
        return reply

    async def _run(self, script: str, words: Mapping[str, object], packed: bytes | None) -> dict[str, Any]:
        chunks = [] if packed is None else [packed[at : at + CHUNK] for at in range(0, len(packed), CHUNK)]
        text = json.dumps({**words, "rid": self._store.request_id()}, ensure_ascii=False)
        arguments = [text, *(b64encode(chunk).decode("ascii") for chunk in chunks)]
        return await self._store.run(script, _keys(), arguments, write=True)


def _keys() -> list[str]:
    return [keys.policy(), keys.system_log(), keys.feed(0), keys.sidecars(0)]


def _facts(generation: Generation) -> dict[str, object]:
    """Return the facts of a generation that its record in the history has (R25)."""
    facts: dict[str, object] = {
        "roles": sorted(generation.roles),
        "assignable": sorted(role.id for role in generation.roles.values() if role.assignable),
    }
    if len(generation.cells) <= MAX_CELLS:
        facts["actions"] = actions_of(generation.allowed)
    return facts


def _marks(found: Any) -> tuple[SidecarMark, ...]:
    marks: Sequence[Any] = items(found)
    return tuple(sorted((SidecarMark(one, MarkState(state), why) for one, state, why in marks), key=lambda it: it.id))
