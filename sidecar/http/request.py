"""Request and response types of the handlers. Handlers are independent of the HTTP library."""

from collections.abc import Mapping
from typing import Final, Generic, TypeVar

import msgspec

from sidecar.domain.access import CredentialSource
from sidecar.domain.decision import Decision
from sidecar.domain.peps import Pep
from sidecar.domain.users import Actor, UserRecord
from sidecar.http.client_ip import caller_address, client_address
from sidecar.http.context import AppContext
from sidecar.http.headers import RawHeaders, header_values
from sidecar.identity.sessions import Client
from sidecar.pdp.decision_basis import Identity
from sidecar.policy.generation import Generation
from sidecar.policy.needs.facts import Address
from sidecar.tokens.claims import Claims

B = TypeVar("B")

MAX_AGENT: Final = 1024
"""Bytes of User-Agent that are read. A session stores 200 printable characters of them."""


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Authenticated user of a request: the identity, and the source of its credential."""

    identity: Identity
    proof: CredentialSource

    @property
    def record(self) -> UserRecord:
        return self.identity.record

    @property
    def claims(self) -> Claims:
        return self.identity.claims


class Request(msgspec.Struct, Generic[B], frozen=True):
    """One authorized request to the API.

    ``peer`` is the address of the connection's other end, None on a Unix socket.
    """

    app: AppContext
    body: B
    names: Mapping[str, str]
    query: Mapping[str, str]
    headers: RawHeaders
    peer_address: str | None
    request_id: str
    generation: Generation | None
    known: Caller | Pep | None = None

    @property
    def address(self) -> str:
        """Client address (R7), for rate limits and audit rows."""
        return client_address(self.peer_address, self.headers, self.app.public_config.trusted_proxies)

    @property
    def known_client(self) -> Address | None:
        """The caller's own address, for needs. None: it is not known."""
        proxies, cookie = self.app.public_config.trusted_proxies, self.caller.proof is CredentialSource.COOKIE
        return caller_address(self.peer_address, self.headers, proxies, cookie=cookie)

    @property
    def client(self) -> Client:
        """The client, for the session list and the audit."""
        agents = header_values(self.headers, b"user-agent")
        agent = agents[0][:MAX_AGENT].decode("latin-1") if agents else ""
        return Client(self.address, "".join(char for char in agent if char.isprintable()), self.request_id)

    @property
    def caller(self) -> Caller:
        """The calling user. Raises LookupError on endpoints without users, which is a programming error."""
        match self.known:
            case Caller() as caller:
                return caller
            case _:
                raise LookupError("no user calls this endpoint")

    @property
    def pep(self) -> Pep:
        """The calling PEP, with its verified key (R20). Raises LookupError on endpoints that PEPs do not call."""
        match self.known:
            case Pep() as pep:
                return pep
            case _:
                raise LookupError("no PEP calls this endpoint")

    @property
    def policy(self) -> Generation:
        """Generation that the authorization used. Handlers use the same one. Raises LookupError if there is none."""
        if self.generation is None:
            raise LookupError("no policy is in force")
        return self.generation

    @property
    def actor(self) -> Actor:
        """The caller in the form that the store's scripts compare with the stored user (R11)."""
        caller = self.caller
        return Actor(
            user=caller.record.id,
            role=caller.record.role,
            epoch=caller.record.epoch,
            session=caller.claims.session,
            address=self.address,
            request_id=self.request_id,
            facts_class=self.facts_class,
        )

    @property
    def facts_class(self) -> int | None:
        """Class of the facts that are known of the caller now. None if the policy has no needs."""
        if not self.policy.needs.active:
            return None
        return self.app.pdp.class_of(self.policy, self.caller.identity, self.known_client)


class Response(msgspec.Struct, frozen=True):
    """Successful response.

    ``body``: a value that msgspec encodes as JSON, bytes with their Content-Type, or None (204).
    ``decision``: the one decision that the response depends on, if a repeated request may get it from a cache.
    """

    status: int
    body: object = None
    headers: tuple[tuple[str, str], ...] = ()
    decision: Decision | None = None


class RawBody(msgspec.Struct, frozen=True, gc=False):
    """Unparsed body of an endpoint that reads several media types (OAuth: form or JSON)."""

    content_type: str
    content: bytes
