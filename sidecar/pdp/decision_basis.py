"""Inputs of a decision, as values: the identity of the caller, and the basis that a response cache validates."""

import msgspec

from sidecar.domain.decision import Decision
from sidecar.domain.sessions import Proof
from sidecar.domain.users import UserRecord
from sidecar.tokens.claims import Claims


class Identity(msgspec.Struct, frozen=True, gc=False):
    """Claims of a token, and the live record that confirms them.

    ``proofs`` and ``signed_in_at`` are those of the live session, or of an external issuer's token (R10). ``auth_time``
    and ``amr`` of the sidecar's own tokens decide nothing. ``signed_in_at``: Unix seconds; None if it is not known.
    """

    claims: Claims
    record: UserRecord
    proofs: tuple[Proof, ...] = ()
    signed_in_at: int | None = None


class DecisionBasis(msgspec.Struct, frozen=True, gc=False):
    """Inputs of a decision. The decision is reusable for an equal check while every input is the identical object and
    the time is in ``[since, until)`` (Unix seconds). ``generation`` is the generation's id object, because a cached
    reference to the generation itself would hold an old one in memory."""

    decision: Decision
    generation: str
    tokens: object
    record: UserRecord
    since: float
    until: float
