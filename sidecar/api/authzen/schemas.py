"""AuthZEN's responses, and its requests for the OpenAPI document. ``requests`` parses requests."""

from typing import Annotated, Any

import msgspec

from sidecar.api.authzen.requests import MAX_ITEMS, Semantic
from sidecar.domain.decision import Reason

Free = Annotated[
    dict[str, Any] | msgspec.UnsetType | None, msgspec.Meta(description="Any object; never decides anything.")
]

Facts = Annotated[
    dict[str, Any] | msgspec.UnsetType | None,
    msgspec.Meta(
        description="For needs of the policy, the key vouches for `client_ip`, the user's own address, and `session`, "
        "the user's session (`ses_…`). Other members never decide anything."
    ),
]


class Subject(msgspec.Struct, frozen=True):
    """A ``user`` (by id or e-mail) or a ``role``."""

    type: str
    id: str
    properties: Free = msgspec.UNSET


class Resource(msgspec.Struct, frozen=True):
    """A ``section``, or a ``route``: a path, for which the action is an HTTP method."""

    type: str
    id: str
    properties: Free = msgspec.UNSET


class Action(msgspec.Struct, frozen=True):
    """An action of the section, or an HTTP method."""

    name: str
    properties: Free = msgspec.UNSET


class EntityKind(msgspec.Struct, frozen=True):
    """The type to search for. An ``id`` is ignored."""

    type: str
    properties: Free = msgspec.UNSET


class Evaluation(msgspec.Struct, frozen=True):
    """A question: may the subject perform the action on the resource?"""

    subject: Subject
    action: Action
    resource: Resource
    context: Facts = msgspec.UNSET


class Options(msgspec.Struct, frozen=True):
    evaluations_semantic: Semantic = Semantic.EXECUTE_ALL


class Evaluations(msgspec.Struct, frozen=True):
    """A batch. Members beside ``evaluations`` are defaults; a member of an item replaces the whole default."""

    evaluations: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1, max_length=MAX_ITEMS)]
    subject: Any = msgspec.UNSET
    action: Any = msgspec.UNSET
    resource: Any = msgspec.UNSET
    context: Any = msgspec.UNSET
    options: Options | msgspec.UnsetType | None = msgspec.UNSET


class PageWanted(msgspec.Struct, frozen=True):
    """The page to return.

    ``token``: ``next_token`` of the last response, with the same entities, and the same limit or none.
    """

    token: str | msgspec.UnsetType | None = msgspec.UNSET
    limit: Annotated[int, msgspec.Meta(ge=0)] | msgspec.UnsetType | None = msgspec.UNSET
    properties: Free = msgspec.UNSET


Wanted = PageWanted | None | msgspec.UnsetType


class SubjectSearch(msgspec.Struct, frozen=True):
    subject: EntityKind
    action: Action
    resource: Resource
    context: Facts = msgspec.UNSET
    page: Wanted = msgspec.UNSET


class ResourceSearch(msgspec.Struct, frozen=True):
    subject: Subject
    action: Action
    resource: EntityKind
    context: Facts = msgspec.UNSET
    page: Wanted = msgspec.UNSET


class ActionSearch(msgspec.Struct, frozen=True):
    subject: Subject
    resource: Resource
    context: Facts = msgspec.UNSET
    page: Wanted = msgspec.UNSET


class ReasonContext(msgspec.Struct, frozen=True):
    """Reason of a denial. ``unmet``: conditions that would do, if needs are not met.

    ``note``: of a role on a path with own segments, the decision for one's own.
    """

    reason: Reason
    unmet: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    note: str | msgspec.UnsetType = msgspec.UNSET


class Decision(msgspec.Struct, frozen=True):
    """A decision. A denial has a ``context`` with its reason."""

    decision: bool
    context: ReasonContext | msgspec.UnsetType = msgspec.UNSET


class Item(msgspec.Struct, frozen=True):
    decision: bool


class Decisions(msgspec.Struct, frozen=True):
    """Response to a batch: ``evaluations`` in the order of the request. Response to one question: ``decision``."""

    evaluations: list[Item] | msgspec.UnsetType = msgspec.UNSET
    decision: bool | msgspec.UnsetType = msgspec.UNSET
    context: ReasonContext | msgspec.UnsetType = msgspec.UNSET


class PageInfo(msgspec.Struct, frozen=True):
    """A page. ``next_token`` is empty at the end. ``total``: as of now, because pages are no snapshot."""

    next_token: str
    count: Annotated[int, msgspec.Meta(ge=0)]
    total: Annotated[int, msgspec.Meta(ge=0)]


class Entity(msgspec.Struct, frozen=True):
    """A subject or a resource."""

    type: str
    id: str


class Entities(msgspec.Struct, frozen=True, kw_only=True):
    page: PageInfo | msgspec.UnsetType = msgspec.UNSET
    results: list[Entity]


class NamedAction(msgspec.Struct, frozen=True):
    name: str


class Actions(msgspec.Struct, frozen=True, kw_only=True):
    page: PageInfo | msgspec.UnsetType = msgspec.UNSET
    results: list[NamedAction]


class Metadata(msgspec.Struct, frozen=True):
    policy_decision_point: str
    access_evaluation_endpoint: str
    access_evaluations_endpoint: str
    search_subject_endpoint: str
    search_resource_endpoint: str
    search_action_endpoint: str
