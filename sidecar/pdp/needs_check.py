"""Needs of a check: the facts of a session, their class, and the decision of an allowed cell with a need.

A fact that is not known meets no condition (R39). The class of a session is remembered, so that a further check costs
one index computation and one bit test.
"""

from typing import Final

import msgspec

from sidecar.domain.caching import FifoCache
from sidecar.domain.decision import FOREVER, Decision, KnownFacts, MissingConditions, Reason
from sidecar.domain.factors import FactorKind, kind_of
from sidecar.domain.sessions import Method, Proof
from sidecar.domain.users import SessionId, UserRecord
from sidecar.pdp.decision_basis import Identity
from sidecar.policy.generation import Generation
from sidecar.policy.needs.conditions import Condition
from sidecar.policy.needs.facts import Address, Facts
from sidecar.policy.needs.table import Requirement

MAX_SESSIONS: Final = 20_000
"""Maximum remembered classes of sessions, of about 300 bytes each."""

_BY_DEVICE: Final = frozenset({Method.TOTP, Method.PASSKEY})


class FactsClass(msgspec.Struct, frozen=True, gc=False):
    """Class of facts at an unknown address. It is valid in ``[since, until)`` (Unix seconds), for one record and one
    generation. ``generation`` is the id object, as in `DecisionBasis`. ``record`` is None for a role."""

    generation: str
    record: UserRecord | None
    base: int
    since: float
    until: float
    known: KnownFacts


class SessionClasses:
    """Classes of live sessions. ``leeway``: seconds that a proof may lie in the future, for clocks that differ."""

    def __init__(self, leeway: float = 0.0) -> None:
        self._leeway = leeway
        self._remembered: FifoCache[SessionId, FactsClass] = FifoCache(MAX_SESSIONS)

    def of(self, generation: Generation, identity: Identity, now: float) -> FactsClass:
        """Return the class of an identity's session. External tokens have no session, and are not remembered."""
        session, record = identity.claims.session, identity.record
        found = self._remembered.get(session)
        if (
            found is not None
            and found.record is record
            and found.generation is generation.id
            and found.since <= now < found.until
        ):
            return found
        made = class_of(generation, record, identity.proofs, identity.signed_in_at, now=now, leeway=self._leeway)
        if session and made.until > now:
            self._remembered.set(session, made)
        return made


def class_of(
    generation: Generation,
    record: UserRecord,
    proofs: tuple[Proof, ...],
    signed_in_at: int | None,
    *,
    now: float,
    leeway: float,
) -> FactsClass:
    """Return the class of these proofs of a user, and its end: the next boundary of age, hours, clock or factor (R40).

    The class ends at ``now`` at the boundary itself.
    """
    needs = generation.needs
    counted, until = counting_proofs(record, proofs, now, leeway)
    facts = Facts(counted, signed_in_at, now, None, record.labels, leeway)
    base, boundary = needs.base_of(facts)
    methods = tuple(sorted({proof.method.value for proof in counted if proof.at <= now + leeway}))
    return FactsClass(generation.id, record, base, now, min(until, boundary), needs.partition.known(base, methods))


def class_of_nothing(generation: Generation) -> FactsClass:
    """Return the class in which no fact is known, for a role as subject."""
    needs = generation.needs
    base = needs.class_of(None)
    return FactsClass(generation.id, None, base, 0.0, FOREVER, needs.partition.known(base, ()))


def counting_proofs(
    record: UserRecord, proofs: tuple[Proof, ...], now: float, leeway: float = 0.0
) -> tuple[tuple[Proof, ...], float]:
    """Return the proofs that count for needs, and the next instant at which one more counts (R37).

    A device that the user no longer has counts never. A recovery code counts as soon as any device does. The store's
    clock sets when a device counts, so that a clock that is behind by ``leeway`` delays none. Proofs of an external
    issuer do not depend on devices that the user has here.
    """
    if any(proof.method is Method.OUTSIDE for proof in proofs):
        return proofs, FOREVER
    counted, until = [], FOREVER
    for proof in proofs:
        if proof.method in _BY_DEVICE:
            counts_at: float = record.factors.get(proof.factor, FOREVER)  # type: ignore[call-overload] # a FactorId
        elif proof.method is Method.RECOVERY_CODE:
            counts_at = min(record.factors.values(), default=FOREVER)
        else:
            counts_at = 0
        if counts_at <= now + leeway:
            counted.append(proof)
        else:
            until = min(until, counts_at - leeway)
    return tuple(counted), until


def decide_need(
    generation: Generation,
    requirement: Requirement,
    facts: FactsClass,
    client: Address | None,
    *,
    role: str,
    allowed: Decision,
    now: float,
) -> Decision:
    """Return the decision of a cell that a rule allows, in a class of facts at an address.

    ``now``: with the leeway of the class.
    """
    needs = generation.needs
    known, number = facts.known, facts.base
    if client is not None:
        number = needs.at(facts.base, client)
        known = KnownFacts(known.methods, known.signed_in_within, needs.network_class(client), known.hours)
    missing = None
    reason = allowed.reason
    if not requirement.meets(number):
        unmet = needs.unmet_in(role, allowed.section, allowed.action, number)
        conditions = [needs.conditions[name] for name in unmet.names]
        enrol = to_enrol(conditions, facts.record)
        missing = MissingConditions(unmet.names, unmet.max_age, unmet.acr_values, enrol)
        mendable = unmet.step_up and not is_waiting(conditions, facts.record, now)
        reason = Reason.STEP_UP_REQUIRED if mendable else Reason.CONDITION_UNMET
    return msgspec.structs.replace(allowed, reason=reason, missing=missing, known=known, valid_until=facts.until)


def to_enrol(conditions: list[Condition], record: UserRecord | None) -> tuple[str, ...]:
    """Return the kinds of devices that conditions ask for, if the user has none that would do."""
    wanted: dict[str, None] = {}
    for condition in conditions:
        kinds = _kinds(condition)
        if kinds and record is not None and not any(kind_of(factor) in kinds for factor in record.factors):
            wanted.update(dict.fromkeys(kind.value for kind in kinds))
    return tuple(wanted)


def is_waiting(conditions: list[Condition], record: UserRecord | None, now: float) -> bool:
    """Return whether the user's only devices for a condition do not count yet (R37): signing in again mends nothing."""
    for condition in conditions:
        kinds = _kinds(condition)
        held = [at for factor, at in (record.factors if record else {}).items() if kind_of(factor) in kinds]
        if held and min(held) > now:
            return True
    return False


def _kinds(condition: Condition) -> tuple[FactorKind, ...]:
    """Return the kinds of devices that meet a condition which only second factors meet."""
    return tuple(kind for kind in FactorKind if Method(kind.value) in condition.methods) if condition.is_factor else ()
