"""Witnesses: facts that stand for a class, as values and as a sentence."""

from datetime import datetime
from typing import Final

from sidecar.domain.sessions import Method, Proof
from sidecar.policy.needs.facts import Facts
from sidecar.policy.needs.partition import Partition

_SOME_DAY: Final = 1_704_067_200
"""2024-01-01T00:00Z, for needs without hours."""
_LATER_S: Final = 300
"""Seconds by which a witness exceeds the largest limit of ages."""

_TITLES: Final = {
    Method.PASSWORD: "password",
    Method.TOTP: "TOTP",
    Method.PASSKEY: "passkey",
    Method.RECOVERY_CODE: "recovery code",
    Method.OUTSIDE: "outside sign-in",
    Method.SECOND_FACTOR: "outside second factor",
}
_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def facts_of(partition: Partition, number: int) -> Facts:
    """Return facts of a class that can happen."""
    dimensions = partition.dimensions
    digits = partition.digits(number)
    now = dimensions.times.samples[digits[partition.time]] if dimensions.times.zones else _SOME_DAY
    age = age_in(dimensions.limits, digits[partition.sign_in])
    grouped = {method for group in dimensions.groups for method in group.methods}
    proofs = [] if Method.PASSWORD in grouped else [Proof(Method.PASSWORD, "", now - age)]
    for group, digit in zip(dimensions.groups, digits, strict=False):
        if digit < group.ages:
            proof_age = age_in(dimensions.limits, digit) if group.ages > 1 else age
            proofs.append(Proof(group.methods[0], "", now - proof_age))
    labels = {}
    for label, digit in zip(dimensions.labels, digits[partition.first_label :], strict=True):
        for value, of_value in label.numbers.items():
            if digit and of_value == digit:
                labels[label.label] = value
                break
    return Facts(tuple(proofs), now - age, float(now), partition.network_samples[digits[partition.network]], labels)


def age_in(limits: tuple[int, ...], digit: int) -> int:
    """Return an age in seconds with this digit."""
    if digit == len(limits):
        return limits[-1] + _LATER_S if limits else 60
    return (limits[digit] + 1) // 2 if digit == 0 else (limits[digit - 1] + limits[digit] + 1) // 2


def described(partition: Partition, facts: Facts) -> str:
    """Return the facts that the partition cuts, as a sentence without its verb."""
    dimensions = partition.dimensions
    methods = sorted({proof.method for proof in facts.proofs}, key=list(Method).index)
    parts = [" and ".join(_TITLES[method] for method in methods) or "no method"]
    if dimensions.limits and facts.signed_in_at is not None:
        parts.append(f"signed in {_ago(facts.now - facts.signed_in_at)} ago")
        parts += [
            f"{_TITLES[proof.method]} {_ago(facts.now - proof.at)} ago"
            for proof in facts.proofs
            if proof.at != facts.signed_in_at
        ]
    if len(dimensions.networks.masks) > 1:
        parts.append("from an unknown address" if facts.client is None else f"from {facts.client}")
    if dimensions.times.zones:
        parts.append(_local(facts.now, dimensions.times.zones[0].zone))
    for label in dimensions.labels:
        value = facts.labels.get(label.label)
        parts.append(f"no {label.label}" if value is None else f"{label.label} {value}")
    return ", ".join(parts)


def _ago(seconds: float) -> str:
    whole = int(seconds)
    for unit, name in ((3600, "hour"), (60, "minute"), (1, "second")):
        if whole >= unit and whole % unit == 0:
            count = whole // unit
            return f"{count} {name}{'s' if count > 1 else ''}"
    return "0 seconds"


def _local(now: float, zone: str) -> str:
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - it takes milliseconds to import

    from sidecar.policy.needs import zones  # noqa: F401, PLC0415 - zones of the package alone

    local = datetime.fromtimestamp(now, ZoneInfo(zone))
    return f"{_WEEKDAYS[local.weekday()]} {local:%H:%M} {zone}"
