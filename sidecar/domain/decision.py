"""Decisions and their reasons (gateways/README.md, "Reasons"). The list of reasons is closed."""

from enum import StrEnum
from typing import Final

import msgspec

from sidecar.domain.users import UserRecord


class Verdict(StrEnum):
    """Kind of decision that a PEP receives. Each reason belongs to exactly one verdict."""

    ALLOW = "allow"
    UNAUTHENTICATED = "unauthenticated"
    DENY = "deny"
    UNKNOWN = "unknown"


class Reason(StrEnum):
    """Reason of a decision. Within a verdict, the members are in the order of evaluation."""

    __hash__ = str.__hash__  # Enum.__hash__ is a Python function, and each check does dict look-ups by reason

    ALLOWED = "allowed"
    PUBLIC = "public"

    MISSING_TOKEN = "missing_token"
    MALFORMED_TOKEN = "malformed_token"
    INVALID_SIGNATURE = "invalid_signature"
    UNKNOWN_KEY = "unknown_key"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    UNKNOWN_USER = "unknown_user"
    SUSPENDED = "suspended"
    NEEDS_REVIEW = "needs_review"
    REVOKED = "revoked"
    SESSION_ENDED = "session_ended"
    STEP_UP_REQUIRED = "step_up_required"

    NO_RULE = "no_rule"
    EXPLICIT_DENY = "explicit_deny"
    CONDITION_UNMET = "condition_unmet"
    NOT_YOURS = "not_yours"
    UNMATCHED_PATH = "unmatched_path"
    UNKNOWN_SECTION = "unknown_section"
    UNKNOWN_ACTION = "unknown_action"
    BAD_REQUEST = "bad_request"
    AMBIGUOUS_PATH = "ambiguous_path"
    CROSS_SITE = "cross_site"

    STORE_UNAVAILABLE = "store_unavailable"
    POLICY_UNAVAILABLE = "policy_unavailable"
    OVERLOADED = "overloaded"

    @property
    def verdict(self) -> Verdict:
        return _VERDICTS[self]

    @property
    def message(self) -> str:
        """Message for the user behind the denied request: one sentence, without any value from the request."""
        return _MESSAGES[self]


_VERDICTS: dict[Reason, Verdict] = (
    dict.fromkeys((Reason.ALLOWED, Reason.PUBLIC), Verdict.ALLOW)
    | dict.fromkeys(
        (
            Reason.MISSING_TOKEN,
            Reason.MALFORMED_TOKEN,
            Reason.INVALID_SIGNATURE,
            Reason.UNKNOWN_KEY,
            Reason.WRONG_ISSUER,
            Reason.WRONG_AUDIENCE,
            Reason.NOT_YET_VALID,
            Reason.EXPIRED,
            Reason.UNKNOWN_USER,
            Reason.SUSPENDED,
            Reason.NEEDS_REVIEW,
            Reason.REVOKED,
            Reason.SESSION_ENDED,
            Reason.STEP_UP_REQUIRED,
        ),
        Verdict.UNAUTHENTICATED,
    )
    | dict.fromkeys(
        (
            Reason.NO_RULE,
            Reason.EXPLICIT_DENY,
            Reason.CONDITION_UNMET,
            Reason.NOT_YOURS,
            Reason.UNMATCHED_PATH,
            Reason.UNKNOWN_SECTION,
            Reason.UNKNOWN_ACTION,
            Reason.BAD_REQUEST,
            Reason.AMBIGUOUS_PATH,
            Reason.CROSS_SITE,
        ),
        Verdict.DENY,
    )
    | dict.fromkeys((Reason.STORE_UNAVAILABLE, Reason.POLICY_UNAVAILABLE, Reason.OVERLOADED), Verdict.UNKNOWN)
)

_MESSAGES: dict[Reason, str] = {
    Reason.ALLOWED: "Allowed by the policy.",
    Reason.PUBLIC: "Public: no sign-in required.",
    Reason.MISSING_TOKEN: "Sign in: the request carries no token.",
    Reason.MALFORMED_TOKEN: "The token is not recognised: fetch a new one.",
    Reason.INVALID_SIGNATURE: "The token's signature is wrong: fetch a new one.",
    Reason.UNKNOWN_KEY: "The token is signed with a key that is not in use: fetch a new one.",
    Reason.WRONG_ISSUER: "The token was issued by another issuer.",
    Reason.WRONG_AUDIENCE: "The token was issued for another service.",
    Reason.NOT_YET_VALID: "The token is not valid yet: check the clocks.",
    Reason.EXPIRED: "The token has expired: fetch a new one.",
    Reason.UNKNOWN_USER: "The token's user no longer exists.",
    Reason.SUSPENDED: "The user is suspended.",
    Reason.NEEDS_REVIEW: "The user is held for review by an administrator: the store has lost a change.",
    Reason.REVOKED: "The token was revoked: sign in again.",
    Reason.SESSION_ENDED: "The session has ended: sign in again.",
    Reason.STEP_UP_REQUIRED: "This needs a newer or stronger proof of your sign-in.",
    Reason.NO_RULE: "No rule allows this for your role.",
    Reason.EXPLICIT_DENY: "A rule denies this for your role.",
    Reason.CONDITION_UNMET: "A condition of the policy is not met, such as the network or the time.",
    Reason.NOT_YOURS: "The path is of another account or user.",
    Reason.UNMATCHED_PATH: "No section of the dashboard has this path and method.",
    Reason.UNKNOWN_SECTION: "There is no such section.",
    Reason.UNKNOWN_ACTION: "The section has no such action.",
    Reason.BAD_REQUEST: "The request is incomplete or contradicts itself.",
    Reason.AMBIGUOUS_PATH: "The path can be read in more than one way.",
    Reason.CROSS_SITE: "A cookie's request that changes something must come from the dashboard itself.",
    Reason.STORE_UNAVAILABLE: "The store is unavailable: requests are denied until it recovers.",
    Reason.POLICY_UNAVAILABLE: "No policy is active: requests are denied until one is.",
    Reason.OVERLOADED: "Too many unknown tokens at once: try again shortly.",
}


class MissingConditions(msgspec.Struct, frozen=True, gc=False):
    """Conditions that would do for an allow, by name. ``max_age`` in seconds and ``acr_values`` are those of RFC 9470.

    ``enrol``: kinds of second factors, one of which the user has to enrol first.
    """

    names: tuple[str, ...]
    max_age: int | None = None
    acr_values: str | None = None
    enrol: tuple[str, ...] = ()


class KnownFacts(msgspec.Struct, frozen=True, gc=False):
    """Coarse facts of a decision in a cell with needs, for the decision log.

    ``methods``: the proofs that count. ``signed_in_within``: the nearest limit of the policy in seconds, or None.
    ``network`` and ``hours``: numbers of classes, which have a meaning in one generation.
    """

    methods: tuple[str, ...]
    signed_in_within: int | None
    network: int
    hours: int


FOREVER: Final = float("inf")


class Decision(msgspec.Struct, frozen=True, gc=False):
    """Result of one check. Only ``reason`` decides; the other fields inform the PEP.

    ``rule`` is ``policy/policy.csv:LINE`` or None. ``generation`` is the id of the deciding policy, or empty if there
    is none. ``cause`` is the state of the store's partition, set with ``store_unavailable`` and written only to the
    decision log.

    ``missing`` is set with ``step_up_required`` and ``condition_unmet``. ``known`` is set in a cell with needs; the
    decision then stays the same until ``valid_until`` (Unix seconds) and no longer.
    """

    reason: Reason
    generation: str
    rule: str | None = None
    user: UserRecord | None = None
    section: str = ""
    action: str = ""
    cause: str = ""
    missing: MissingConditions | None = None
    known: KnownFacts | None = None
    valid_until: float = FOREVER

    @property
    def allowed(self) -> bool:
        return self.reason.verdict is Verdict.ALLOW
