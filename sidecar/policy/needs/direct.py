"""Direct evaluator of needs: reads the files again and evaluates one set of facts at a time, without a partition.

It is the reference of the compiled table, as pycasbin is for rules. It shares no code with the compiler: its own
reading, its own inheritance, its own dates. It is slow, and only proofs and tests call it.
"""

import csv
import io
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from ipaddress import IPv6Address, ip_network
from typing import Any

from sidecar.policy.needs.facts import Facts

_FACTORS = {"totp", "passkey", "recovery-code", "second-factor"}
_UNITS = {"s": 1, "m": 60, "h": 3600}
_DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

Line = tuple[int, str, str, str, tuple[str, ...]]
"""Line number, role, section, action, condition names."""


class DirectNeeds:
    """Needs of valid policy files."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._conditions: dict[str, Any] = tomllib.loads(files.get("conditions.toml", b"").decode()).get(
            "conditions", {}
        )
        self._parents: dict[str, set[str]] = {}
        for _, row in _rows(files["policy.csv"]):
            if row[0] == "g":
                self._parents.setdefault(row[1], set()).add(row[2])
        self.lines: list[Line] = [
            (number, row[1], row[2], row[3], tuple(name.strip() for name in row[4].split("|")))
            for number, row in _rows(files.get("needs.csv", b""))
        ]

    # -- lines ---------------------------------------------------------------------------------------------------------

    def lines_for_role(self, role: str) -> list[Line]:
        """Return the lines that name a role or one of its inherited roles."""
        reached, pending = {role}, [role]
        while pending:
            for parent in self._parents.get(pending.pop(), ()):
                if parent not in reached:
                    reached.add(parent)
                    pending.append(parent)
        return [line for line in self.lines if line[1] == "*" or line[1] in reached]

    @staticmethod
    def lines_for_cell(lines: Sequence[Line], section: str, action: str) -> tuple[Line, ...]:
        """Return those of a role's lines that apply to a cell."""
        return tuple(
            line
            for line in lines
            if (line[2] == section or (line[2] == "*" and section != "account-settings")) and line[3] in ("*", action)
        )

    # -- facts ---------------------------------------------------------------------------------------------------------

    def meets(self, lines: Sequence[Line], facts: Facts) -> bool:
        """Return whether facts meet all lines: a condition of each, and no chosen factor older than a chosen limit."""
        met = {name for line in lines for name in line[4] if self._met(name, facts)}
        open_lines = []
        for line in lines:
            usable = [name for name in line[4] if name in met]
            if all(self._limit(name) is not None or self._factors(name) for name in usable):
                open_lines.append(usable)
        return self._choose(open_lines, frozenset(), facts, set())

    def _choose(
        self, lines: list[list[str]], chosen: frozenset[str], facts: Facts, failed: set[tuple[int, frozenset[str]]]
    ) -> bool:
        """Return whether one condition can be chosen of each line."""
        if (len(lines), chosen) in failed or not self._fits(chosen, facts):
            return False
        if not lines:
            return True
        if any(self._choose(lines[1:], chosen | {name}, facts, failed) for name in lines[0]):
            return True
        failed.add((len(lines), chosen))
        return False

    def _fits(self, chosen: frozenset[str], facts: Facts) -> bool:
        """Return whether each chosen factor is as recent as the chosen limits ask for."""
        limits = [limit for limit in map(self._limit, chosen) if limit is not None]
        return not limits or all(
            any(proof.method in factors and facts.now - proof.at <= min(limits) for proof in _valid(facts))
            for factors in map(self._factors, chosen)
            if factors
        )

    def _limit(self, name: str) -> int | None:
        text = self._conditions[name].get("signed_in_within")
        return None if text is None else int(text[:-1]) * _UNITS[text[-1]]

    def _factors(self, name: str) -> set[str]:
        """Return the methods of a condition that only factors meet; empty for other conditions."""
        condition = self._conditions[name]
        methods = _FACTORS if condition.get("second_factor") else set(condition.get("methods", ()))
        return methods if methods <= _FACTORS else set()

    def _met(self, name: str, facts: Facts) -> bool:
        """Return whether the facts meet one condition alone."""
        condition = self._conditions[name]
        if "second_factor" in condition:
            return any(proof.method in _FACTORS for proof in _valid(facts))
        if "methods" in condition:
            return any(proof.method in condition["methods"] for proof in _valid(facts))
        if "networks" in condition:
            return _is_inside(condition["networks"], facts)
        if "hours" in condition:
            return _is_time(condition["hours"], facts.now)
        if "account" in condition:
            ((label, values),) = condition["account"].items()
            return facts.labels.get(label) in values
        limit = self._limit(name)
        at = facts.signed_in_at
        return limit is not None and at is not None and -facts.leeway <= facts.now - at <= limit


def _rows(content: bytes) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(io.StringIO(content.decode(), newline="\n"), start=1):
        if line.strip() and not line.strip().startswith("#"):
            yield number, [field.strip() for field in next(csv.reader([line.strip()], skipinitialspace=True))]


def _valid(facts: Facts) -> list[Any]:
    return [proof for proof in facts.proofs if proof.at <= facts.now + facts.leeway]


def _is_inside(networks: Sequence[str], facts: Facts) -> bool:
    client = facts.client
    if isinstance(client, IPv6Address) and client.ipv4_mapped is not None:
        client = client.ipv4_mapped
    return client is not None and any(client in ip_network(text) for text in networks)


def _is_time(hours: Mapping[str, str], now: float) -> bool:
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - only hours need it

    local = datetime.fromtimestamp(now, ZoneInfo(hours["zone"]))
    clock = f"{local:%H:%M}"
    days = _days(hours["days"])
    today, yesterday = local.weekday() in days, (local.weekday() - 1) % 7 in days
    if hours["from"] < hours["to"]:
        return today and hours["from"] <= clock < hours["to"]
    return (today and clock >= hours["from"]) or (yesterday and clock < hours["to"])


def _days(text: str) -> set[int]:
    found = set()
    for part in text.split(","):
        ends = [_DAYS.index(day.strip()) for day in part.split("-")]
        day = ends[0]
        found.add(day)
        while day != ends[-1]:
            day = (day + 1) % 7
            found.add(day)
    return found
