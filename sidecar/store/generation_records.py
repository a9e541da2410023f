"""Records of generations in the store, and their codes: HMACs under the pepper (fleet.md, section 1).

A code covers every field of its record except the time. A writer of Redis without the pepper can therefore neither make
nor change a record. No I/O.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hmac import compare_digest

from sidecar.tokens.opaque import Pepper, Purpose


@dataclass(frozen=True, slots=True)
class GenerationTerms:
    """Content of an application. ``digest``: SHA-256 of the packed files. ``counter`` rises with each application.

    ``signature``: text of policy.sig, or empty. ``by``, ``note``: given by the operator.
    """

    id: str
    digest: str
    counter: int
    signature: str = ""
    by: str = ""
    note: str = ""

    def code(self, pepper: Pepper, kind: str, place: str) -> str:
        """Return the code of these terms at a place: a revision, or the attempt of a candidate."""
        words = (kind, place, self.id, self.digest, str(self.counter), self.signature, self.by, self.note)
        return pepper.mac(Purpose.POLICY, *words).hex()

    def active_code(self, pepper: Pepper, revision: int) -> str:
        return self.code(pepper, "active", str(revision))

    def candidate_code(self, pepper: Pepper, attempt: str) -> str:
        return self.code(pepper, "candidate", attempt)

    def fields(self) -> dict[str, str]:
        """Return the terms as the scripts take them."""
        return {
            "id": self.id,
            "digest": self.digest,
            "counter": str(self.counter),
            "signature": self.signature,
            "by": self.by,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class ActiveRecord:
    """Generation that is active from ``revision`` on. ``at``: Unix milliseconds, 0 in a feed entry."""

    terms: GenerationTerms
    revision: int
    code: str
    at: int = 0

    def is_authentic(self, pepper: Pepper) -> bool:
        return compare_digest(self.code, self.terms.active_code(pepper, self.revision))

    def fields(self) -> dict[str, str]:
        """Return the record as `active_of` reads it."""
        return {**self.terms.fields(), "n": str(self.revision), "code": self.code, "t": str(self.at)}

    def precedes(self, other: "ActiveRecord") -> bool:
        """Return whether ``other`` may follow this record: a later application, or the same one (R44)."""
        if other.terms.counter == self.terms.counter:
            return other.terms.id == self.terms.id and other.revision >= self.revision
        return other.terms.counter > self.terms.counter


@dataclass(frozen=True, slots=True)
class PolicyCandidate:
    """Generation for all live sidecars to compile. ``attempt``: random id of this application. ``shadow_until``: end of
    its shadow, Unix milliseconds; 0 without one."""

    terms: GenerationTerms
    attempt: str
    code: str
    shadow_until: int = 0

    def is_authentic(self, pepper: Pepper) -> bool:
        return compare_digest(self.code, self.terms.candidate_code(pepper, self.attempt))


class MarkState(StrEnum):
    """Answer of a sidecar to a candidate. ``silent``: its lease ran out without a sign-off. ``passed``: named by
    ``--without``."""

    READY = "ready"
    REJECTED = "rejected"
    WAITING = "waiting"
    SILENT = "silent"
    PASSED = "passed"


@dataclass(frozen=True, slots=True)
class SidecarMark:
    """Answer of one sidecar. ``reason``: why it is not ready."""

    id: str
    state: MarkState
    reason: str = ""


def active_of(fields: Mapping[str, str]) -> ActiveRecord | None:
    """Return the record of stored fields; None for fields of no record: absent, or written by another hand."""
    terms = _terms_of(fields)
    try:
        return ActiveRecord(terms, int(fields["n"]), fields["code"], int(fields.get("t", "0"))) if terms else None
    except (KeyError, ValueError):
        return None


def switch_of(fields: Mapping[str, str]) -> ActiveRecord | None:
    """Return the record of a feed entry of kind ``policy``; None for other entries."""
    if "g" not in fields:
        return None
    names = {"g": "id", "d": "digest", "c": "counter", "sig": "signature"}
    return active_of({names.get(name, name): value for name, value in fields.items() if name != "t"})


def candidate_of(fields: Mapping[str, str]) -> PolicyCandidate | None:
    """Return the candidate of stored fields; None for fields of no candidate."""
    terms = _terms_of(fields)
    if terms is None or "attempt" not in fields:
        return None
    shadow = fields.get("shadow", "")
    return PolicyCandidate(terms, fields["attempt"], fields.get("code", ""), int(shadow) if shadow.isdecimal() else 0)


def _terms_of(fields: Mapping[str, str]) -> GenerationTerms | None:
    try:
        return GenerationTerms(
            fields["id"], fields["digest"], int(fields["counter"]), fields["signature"], fields["by"], fields["note"]
        )
    except (KeyError, ValueError):
        return None
