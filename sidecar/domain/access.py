"""What is asked: subject, resource, action and the proof that came along (AuthZEN 1.0, section 5).

Values only. A question says what a PEP wants to know; it never says who is right. They are msgspec Structs because
several are made for every check, and one costs a twentieth of a frozen dataclass (measured: 0.07 against 1.3 µs).
``gc=False``: none of them can be part of a circle, so no collection need go through those that caches keep.
"""

from enum import StrEnum

import msgspec


class Proof(StrEnum):
    """Where the token stood. A cookie is sent by browsers unasked, so R5 asks more of it."""

    NONE = "none"
    HEADER = "header"
    COOKIE = "cookie"


class Credential(msgspec.Struct, frozen=True, gc=False):
    """A token as received, not yet believed. ``token`` is empty when ``proof`` is NONE."""

    proof: Proof
    token: str

    def __repr__(self) -> str:
        return f"Credential(proof={self.proof.value!r}, token=…)"


NO_CREDENTIAL = Credential(Proof.NONE, "")


class Route(msgspec.Struct, frozen=True, gc=False):
    """A request of the dashboard: its method and its raw path, still percent-encoded, without the query."""

    method: str
    raw_path: str


class Target(msgspec.Struct, frozen=True, gc=False):
    """A section and an action, named by whoever configured the gateway or wrote the service."""

    section: str
    action: str


class Question(msgspec.Struct, frozen=True, gc=False):
    """One check. ``same_site`` is what the gateway could tell of R5: only a cookie's request needs it."""

    target: Route | Target
    credential: Credential
    same_site: bool = False


class Subject(msgspec.Struct, frozen=True, gc=False):
    """Whom a PEP asks about: ``user`` (an id or an e-mail) or ``role``. Another kind is nobody."""

    kind: str
    id: str


class Resource(msgspec.Struct, frozen=True, gc=False):
    """What a PEP asks about: ``section``, or ``route`` (a path, whose action is an HTTP method). Another is nothing."""

    kind: str
    id: str
