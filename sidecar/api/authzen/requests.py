"""AuthZEN 1.0 requests: strict JSON to subject, action and resource.

Missing members and members of another type are rejected by name; unknown ones are ignored. ``properties`` and
``context`` must be objects. Claims of a PEP never affect a decision (R20), but two facts do, for which its key vouches:
``context.client_ip`` and ``context.session``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

import msgspec

from sidecar.domain.access import Resource, Subject
from sidecar.domain.users import SessionId
from sidecar.http import json_body
from sidecar.http.client_ip import MAX_ENTRY, Address, forwarded_address
from sidecar.http.json_body import InvalidBodyError, strict_json
from sidecar.http.request import RawBody

MEDIA_TYPE: Final = "application/json"
MAX_ITEMS: Final = 1000
MAX_BATCH_BYTES: Final = 512 * 1024
"""Bytes of a batch. A thousand complete questions fit."""

MAX_MEMBERS: Final = 32 * MAX_ITEMS
"""Members of a batch. A question has seven, plus its properties."""

MAX_TEXT: Final = 8192
"""Characters of a type, an id or a name. An id may be a path."""

SHORT: Final = 1024
"""Bytes of a cached body. The cache contains nothing else, because a head may be far longer (R29)."""

Members = Mapping[str, Any]


class Semantic(StrEnum):
    """Condition under which a batch stops before its last question."""

    EXECUTE_ALL = "execute_all"
    DENY_ON_FIRST_DENY = "deny_on_first_deny"
    PERMIT_ON_FIRST_PERMIT = "permit_on_first_permit"


class Context(msgspec.Struct, frozen=True, gc=False):
    """Facts of a request, for needs: the user's address, None if it is not known, and the user's session, or empty."""

    client: Address | None
    session: SessionId


class Evaluation(msgspec.Struct, frozen=True, gc=False):
    """One question."""

    subject: Subject
    action: str
    resource: Resource
    context: Context


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch. ``evaluations`` include their defaults. An invalid question is an error on its own."""

    evaluations: tuple[Evaluation | InvalidBodyError, ...]
    semantic: Semantic


def members_of(body: RawBody) -> Members:
    """Parse the request's object. Raises InvalidBodyError."""
    _refuse_other_than_json(body)
    return _members_in(body.content, MAX_MEMBERS)


def _refuse_other_than_json(body: RawBody) -> None:
    sent = body.content_type
    if sent != MEDIA_TYPE and sent.partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise InvalidBodyError(f"Content-Type must be {MEDIA_TYPE}")


def _members_in(content: bytes, max_members: int = json_body.MAX_MEMBERS) -> Members:
    sent = strict_json(content, max_members)
    if not isinstance(sent, dict):
        raise InvalidBodyError("the body is not a JSON object")
    return sent


def evaluation_in(body: RawBody) -> Evaluation:
    """Parse a body with one question. Raises InvalidBodyError that names the member.

    Short bodies are parsed once, because the question depends on the bytes alone. That saves a tenth of an evaluation.
    """
    _refuse_other_than_json(body)
    if len(body.content) <= SHORT:
        return _evaluation_in(body.content)
    return evaluation_of(_members_in(body.content))


@lru_cache(maxsize=4096)
def _evaluation_in(content: bytes) -> Evaluation:
    return evaluation_of(_members_in(content))


def evaluation_of(sent: Members) -> Evaluation:
    """Return the question of an object. Raises InvalidBodyError that names the member."""
    context = context_of(sent)
    return Evaluation(subject_of(sent), action_of(sent), resource_of(sent), context)


def batch_of(sent: Members) -> Batch | None:
    """Return the batch, or None if there are no ``evaluations``.

    Raises InvalidBodyError for errors outside the items.
    """
    semantic = _semantic(sent)
    listed = sent.get("evaluations")
    if listed is None or listed == []:
        return None
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise InvalidBodyError("evaluations must be an array of objects")
    if len(listed) > MAX_ITEMS:
        raise InvalidBodyError(f"evaluations may hold {MAX_ITEMS} questions; send the others in a further request")
    return Batch(tuple(_items(sent, listed)), semantic)


def _items(sent: Members, listed: list[Members]) -> Iterator[Evaluation | InvalidBodyError]:
    """Yield the questions. A member of an item replaces the whole default. Unused defaults are not validated."""
    defaults = {name: sent[name] for name in ("subject", "action", "resource", "context") if name in sent}
    for item in listed:
        try:
            yield evaluation_of({**defaults, **item})
        except InvalidBodyError as error:
            yield error


def _semantic(sent: Members) -> Semantic:
    options = optional_object(sent, "options")
    wanted = options.get("evaluations_semantic", Semantic.EXECUTE_ALL)
    try:
        return Semantic(wanted)
    except ValueError:
        raise InvalidBodyError(f"options.evaluations_semantic must be one of {', '.join(Semantic)}") from None


def context_of(sent: Members) -> Context:
    """Return the facts in a request's context. A value that is no address or no text is not known."""
    context = optional_object(sent, "context")
    address, session = context.get("client_ip"), context.get("session")
    client = forwarded_address(address) if isinstance(address, str) and len(address) <= MAX_ENTRY else None
    return Context(client, SessionId(session if isinstance(session, str) else ""))


def subject_of(sent: Members) -> Subject:
    kind, identifier = _entity(sent, "subject")
    return Subject(kind, identifier)


def resource_of(sent: Members) -> Resource:
    kind, identifier = _entity(sent, "resource")
    return Resource(kind, identifier)


def action_of(sent: Members) -> str:
    return _text(_object(sent, "action"), "action", "name")


def kind_of(sent: Members, name: str) -> str:
    """Return the type that a search is for. An id is ignored."""
    return _text(_object(sent, name), name, "type")


def optional_object(sent: Members, name: str, of: str = "") -> Members:
    """Return an object. Absent and null mean an empty one."""
    value = sent.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidBodyError(f"{of}{name} must be an object")
    return value


def _entity(sent: Members, name: str) -> tuple[str, str]:
    entity = _object(sent, name)
    return _text(entity, name, "type"), _text(entity, name, "id")


def _object(sent: Members, name: str) -> Members:
    entity = sent.get(name)
    if not isinstance(entity, dict):
        raise InvalidBodyError(f"{name} must be an object" if name in sent else f"{name} is missing")
    optional_object(entity, "properties", f"{name}.")
    return entity


def _text(entity: Members, name: str, member: str) -> str:
    value = entity.get(member)
    if not isinstance(value, str):
        raise InvalidBodyError(
            f"{name}.{member} must be a string" if member in entity else f"{name}.{member} is missing"
        )
    if len(value) > MAX_TEXT:
        raise InvalidBodyError(f"{name}.{member} must have at most {MAX_TEXT} characters")
    return value
