"""Inputs of a decision, as values: the identity of the caller, and the basis that a response cache validates."""

import msgspec

from sidecar.domain.decision import Decision
from sidecar.domain.users import UserRecord
from sidecar.tokens.claims import Claims


class Identity(msgspec.Struct, frozen=True, gc=False):
    """Claims of a token, and the live record that confirms them."""

    claims: Claims
    record: UserRecord


class DecisionBasis(msgspec.Struct, frozen=True, gc=False):
    """Inputs of a decision. The decision is reusable for an equal check while every input is the identical object and
    the time is in ``[since, until)`` (Unix seconds). ``generation`` is the generation's id object, because a cached
    reference to the generation itself would hold an old one in memory."""

    decision: Decision
    generation: str
    tokens: object
    record: UserRecord
    since: int
    until: int
