"""What a handler is given and what it gives back. A handler sees no HTTP library; it translates, rooms decide."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

import msgspec

from sidecar.domain.access import Proof
from sidecar.domain.peps import Pep, Scope
from sidecar.domain.problems import Problem
from sidecar.domain.users import Actor, UserRecord
from sidecar.http.client_ip import client_address
from sidecar.http.context import Parts
from sidecar.http.headers import RawHeaders
from sidecar.http.problems import problem_answer
from sidecar.http.response import Answer
from sidecar.policy.generation import Generation
from sidecar.tokens.claims import Claims

B = TypeVar("B")


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Who calls, as judged a moment ago: the live record, and the token that bore it out."""

    record: UserRecord
    claims: Claims
    proof: Proof


class Call(msgspec.Struct, Generic[B], frozen=True):
    """One request to the API, past its guard. ``peer`` is who holds the other end of the connection, None on a Unix
    socket."""

    parts: Parts
    body: B
    names: Mapping[str, str]
    query: Mapping[str, str]
    headers: RawHeaders
    peer: str | None
    request_id: str
    generation: Generation | None
    known: Caller | Pep | None = None

    @property
    def address(self) -> str:
        """The client's (R7), for limits and audit rows."""
        return client_address(self.peer, self.headers, self.parts.surface.trusted_proxies)

    @property
    def caller(self) -> Caller:
        """Of an endpoint for users. Another one has none, and asking is a mistake in our own code."""
        match self.known:
            case Caller() as caller:
                return caller
            case _:
                raise LookupError("no user calls this endpoint")

    @property
    def pep(self) -> Pep:
        """Of an endpoint for PEPs: the key that it came with, as judged a moment ago (R20)."""
        match self.known:
            case Pep() as pep:
                return pep
            case _:
                raise LookupError("no PEP calls this endpoint")

    @property
    def policy(self) -> Generation:
        """The generation that the guard judged by; handlers of guarded endpoints use the same one."""
        if self.generation is None:
            raise LookupError("no policy is in force")
        return self.generation

    @property
    def actor(self) -> Actor:
        """The caller as the store's scripts compare it with the truth (R11)."""
        caller = self.caller
        return Actor(
            user=caller.record.id,
            role=caller.record.role,
            epoch=caller.record.epoch,
            session=caller.claims.session,
            address=self.address,
            request_id=self.request_id,
        )


class Reply(msgspec.Struct, frozen=True):
    """A good answer: what msgspec can encode as JSON, or bytes with their own Content-Type, or nothing (204)."""

    status: int
    body: object = None
    headers: tuple[tuple[str, str], ...] = ()


class Gate(Enum):
    """Guards that need no words of their own."""

    OPEN = "open"
    SIGNED_IN = "signed-in"


@dataclass(frozen=True, slots=True)
class May:
    """Guard: signed in, and the policy allows this action of this section. The sidecar obeys its own policy."""

    section: str
    action: str


@dataclass(frozen=True, slots=True)
class Key:
    """Guard: a PEP's key with this scope. A user's token is none, and a key opens no other guard (R20)."""

    scope: Scope


Guard = Gate | May | Key

Handler = Callable[[Call[Any]], Awaitable[Reply | Problem]]


class RawBody(msgspec.Struct, frozen=True, gc=False):
    """The body of an endpoint that reads it itself (OAuth: form or JSON)."""

    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of the table. ``body``: a Struct, ``RawBody``, or None for an endpoint that takes no body.

    ``path`` holds ``{names}`` for single segments. ``tell`` puts a problem into the words of the endpoint's standard;
    ``max_body`` is for one that needs more than SIDECAR_MAX_BODY; with ``at_least`` it honours ``X-Sidecar-At-Least``.
    The rest is for the OpenAPI document: ``answer`` is the JSON of the first status, ``asks`` what the body holds where
    ``body`` does not say it (one of them; ``form``: or a form of it), ``query`` a Struct of the query's names, ``text``
    an example of the plain text that the answer can be instead.
    """

    method: str
    path: str
    guard: Guard
    handler: Handler
    summary: str
    body: type[Any] | None = None
    statuses: tuple[int, ...] = (200,)
    tell: Callable[[Problem], Answer] = problem_answer
    max_body: int = 0
    at_least: bool = False
    answer: type[Any] | None = None
    asks: tuple[type[Any], ...] = ()
    form: bool = False
    query: type[Any] | None = None
    text: str = ""
