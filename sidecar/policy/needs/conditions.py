"""Reader of conditions.toml: named conditions that lines of needs.csv refer to. The file is optional.

A condition has exactly one kind. Values are strict: a condition that could mean two things is an error.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import msgspec

from sidecar.domain.sessions import SECOND_FACTORS, Method
from sidecar.policy.declarations import default_title, report_confusable, shown_text
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import DiagnosticSink, suggestion
from sidecar.policy.needs import condition_values as values
from sidecar.policy.needs.condition_values import ConditionValueError, Hours
from sidecar.policy.text.toml_reader import TomlTable, read_toml

FILE: Final = "conditions.toml"
MAX_CONDITIONS: Final = 64
CONDITION_NAME: Final = re.compile(r"[a-z0-9-]{1,40}")
DEFAULT_WAIT_S: Final = 24 * 3600
"""Seconds from the confirmation of a user's first factor until it counts for needs (R37)."""
MAX_WAIT_S: Final = 7 * 24 * 3600


class ConditionKind(StrEnum):
    """Kind of a condition. The value is its key in conditions.toml."""

    SECOND_FACTOR = "second_factor"
    METHODS = "methods"
    SIGNED_IN_WITHIN = "signed_in_within"
    NETWORKS = "networks"
    HOURS = "hours"
    ACCOUNT = "account"


SIGN_IN_KINDS: Final = frozenset({ConditionKind.SECOND_FACTOR, ConditionKind.METHODS, ConditionKind.SIGNED_IN_WITHIN})
"""Kinds that a new sign-in or a step-up can meet."""

_KEYS: Final = tuple(kind.value for kind in ConditionKind)


class Condition(msgspec.Struct, frozen=True):
    """Condition of conditions.toml. Only the fields of its kind are set.

    ``methods`` is also set for a second factor. ``seconds``: of ``signed_in_within``. ``label`` and ``values``: of
    ``account``.
    """

    name: str
    title: str
    kind: ConditionKind
    line: int
    methods: tuple[Method, ...] = ()
    seconds: int = 0
    networks: tuple[str, ...] = ()
    hours: Hours | None = None
    label: str = ""
    values: tuple[str, ...] = ()

    @property
    def by_sign_in(self) -> bool:
        """Return whether a new sign-in or a step-up can meet the condition."""
        return self.kind in SIGN_IN_KINDS

    @property
    def is_factor(self) -> bool:
        """Return whether only second factors meet the condition. Its age is then that of the factor's own proof."""
        return bool(self.methods) and SECOND_FACTORS.issuperset(self.methods)


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions in the order of the file. ``readable`` is False if names cannot be checked against the file."""

    by_name: Mapping[str, Condition] = field(default_factory=dict)
    wait_s: int = DEFAULT_WAIT_S
    readable: bool = True


def read_conditions(data: bytes | None, findings: DiagnosticSink) -> Conditions:
    """Read the file. None is an absent file, which has no conditions."""
    if data is None:
        return Conditions()
    root = read_toml(data, FILE, findings)
    if root is None:
        return Conditions(readable=False)
    root.known("conditions", "second_factor")
    wait_s = _read_wait(root)
    if "conditions" not in root.values:
        return Conditions(wait_s=wait_s)
    found: dict[str, Condition] = {}
    unreadable: set[str] = set()
    for name, table in root.named("conditions"):
        condition = _read_condition(name, table)
        if condition is None:
            unreadable.add(name)
        else:
            found[name] = condition
    report_confusable({one.name: one.title for one in found.values()}, "condition", root)
    if len(found) + len(unreadable) > MAX_CONDITIONS:
        message = f"{len(found) + len(unreadable)} conditions: more than {MAX_CONDITIONS}"
        findings.add(Code.POLICY_TOO_LARGE, FILE, (1, 1), message, "delete the unused conditions")
    return Conditions(found, wait_s, readable=not unreadable and isinstance(root.values["conditions"], dict))


def _read_wait(root: TomlTable) -> int:
    table = root.table("second_factor")
    if table is None:
        return DEFAULT_WAIT_S
    table.known("wait")
    text = table.text("wait")
    if text is None:
        return DEFAULT_WAIT_S
    try:
        return values.duration(text, 0, MAX_WAIT_S)
    except ConditionValueError as error:
        table.report(Code.CONDITION_VALUE, "wait", error.message, error.hint)
        return DEFAULT_WAIT_S


def _read_condition(name: str, table: TomlTable) -> Condition | None:
    """Return the condition, or None if it is invalid; the finding is then added."""
    good = CONDITION_NAME.fullmatch(name) is not None
    if not good:
        message = f'"{name}" is not a valid condition name'
        table.report(Code.INVALID_NAME, None, message, "a name is 1 to 40 of a-z, 0-9 and -")
    table.known("title", *_KEYS)
    title = shown_text(table, "title", default_title(name), required=False)
    kinds = [ConditionKind(key) for key in table.values if key in _KEYS]
    if len(kinds) != 1:
        problem = "no kind" if not kinds else f"{len(kinds)} kinds: {', '.join(kinds)}"
        hint = f"write exactly one of {', '.join(_KEYS)}"
        table.report(Code.CONDITION_KIND, kinds[1].value if kinds else None, f'"{name}" has {problem}', hint)
        return None
    line = table.document.at(table.path)[0]
    read = _read_value(Condition(name, title, kinds[0], line), table)
    return read if good else None


def _read_value(condition: Condition, table: TomlTable) -> Condition | None:
    match condition.kind:
        case ConditionKind.SECOND_FACTOR:
            return _second_factor(condition, table)
        case ConditionKind.METHODS:
            return _methods(condition, table)
        case ConditionKind.SIGNED_IN_WITHIN:
            return _signed_in_within(condition, table)
        case ConditionKind.NETWORKS:
            return _networks(condition, table)
        case ConditionKind.HOURS:
            return _hours(condition, table)
        case ConditionKind.ACCOUNT:
            return _account(condition, table)


def _second_factor(condition: Condition, table: TomlTable) -> Condition | None:
    value = table.values["second_factor"]
    if value is False:
        message = "second_factor = false is no condition: a need cannot ask for the absence of a factor"
        table.report(Code.CONDITION_VALUE, "second_factor", message, "write second_factor = true")
        return None
    if not table.flag("second_factor", default=False):
        return None
    return msgspec.structs.replace(condition, methods=tuple(sorted(SECOND_FACTORS)))


def _methods(condition: Condition, table: TomlTable) -> Condition | None:
    listed = _listed(table, "methods")
    known = [method.value for method in Method if method is not Method.SECOND_FACTOR]
    if listed is None or not all(
        name in known or _reported(table, "methods", index, f'"{name}" is not a method', suggestion(name, known))
        for index, name in enumerate(listed)
    ):
        return None
    return msgspec.structs.replace(condition, methods=tuple(sorted(map(Method, listed))))


def _signed_in_within(condition: Condition, table: TomlTable) -> Condition | None:
    text = table.text("signed_in_within")
    if text is None:
        return None
    try:
        seconds = values.duration(text, 60, 24 * 3600)
    except ConditionValueError as error:
        table.report(Code.CONDITION_VALUE, "signed_in_within", error.message, error.hint)
        return None
    return msgspec.structs.replace(condition, seconds=seconds)


def _networks(condition: Condition, table: TomlTable) -> Condition | None:
    listed = _listed(table, "networks")
    if listed is None:
        return None
    found = []
    for index, text in enumerate(listed):
        try:
            found.append(values.network(text))
        except ConditionValueError as error:
            _report_item(table, "networks", index, error.message, error.hint)
    if len(found) < len(listed):
        return None
    return msgspec.structs.replace(condition, networks=tuple(found))


def _hours(condition: Condition, table: TomlTable) -> Condition | None:
    inner = table.table("hours")
    if inner is None:
        return None
    inner.known("days", "from", "to", "zone")
    texts = {key: inner.text(key) for key in ("days", "from", "to", "zone")}
    read: dict[str, object] = {}
    for key, parse in (
        ("days", values.days),
        ("from", values.time_of_day),
        ("to", values.end_of_day),
        ("zone", values.zone),
    ):
        text = texts[key]
        if text is None:
            continue
        try:
            read[key] = parse(text)
        except ConditionValueError as error:
            inner.report(Code.CONDITION_VALUE, key, error.message, error.hint)
    if len(read) < 4:
        return None
    hours = Hours(read["days"], read["from"], read["to"], read["zone"])  # type: ignore[arg-type] # by the parsers above
    if hours.start == hours.end:
        message = f'from and to are both "{texts["from"]}": the time has no length'
        inner.report(Code.CONDITION_VALUE, "to", message, 'write from = "00:00" and to = "24:00" for whole days')
        return None
    return msgspec.structs.replace(condition, hours=hours)


def _account(condition: Condition, table: TomlTable) -> Condition | None:
    inner = table.table("account")
    if inner is None:
        return None
    if len(inner.values) != 1:
        problem = "no label" if not inner.values else f"{len(inner.values)} labels: {', '.join(inner.values)}"
        table.report(Code.CONDITION_VALUE, "account", f"account names {problem}", 'write account = { plan = ["pro"] }')
        return None
    (label,) = inner.values
    listed = _listed(inner, label)
    if not values.LABEL.fullmatch(label):
        inner.report(Code.INVALID_NAME, label, f'"{label}" is not a label', f"a label is {values.LABEL_FORM}")
        return None
    if listed is None or not all(
        values.LABEL.fullmatch(text)
        or _reported(inner, label, index, f'"{text}" is not a value of a label', f"a value is {values.LABEL_FORM}")
        for index, text in enumerate(listed)
    ):
        return None
    return msgspec.structs.replace(condition, label=label, values=tuple(sorted(listed)))


# -- lists -------------------------------------------------------------------------------------------------------------


def _listed(table: TomlTable, key: str) -> list[str] | None:
    """Return a list that is not empty and has no duplicate."""
    listed = table.texts(key)
    if listed is None:
        return None
    if not listed:
        table.report(
            Code.CONDITION_VALUE, key, f"{key} is an empty list: no session could meet it", "name at least one"
        )
        return None
    for index, text in enumerate(listed):
        if text in listed[:index]:
            _report_item(table, key, index, f'"{text}" is listed twice', "delete one of them")
            return None
    return listed


def _reported(table: TomlTable, key: str, index: int, message: str, hint: str) -> bool:
    _report_item(table, key, index, message, hint)
    return False


def _report_item(table: TomlTable, key: str, index: int, message: str, hint: str) -> None:
    document = table.document
    document.findings.add(Code.CONDITION_VALUE, FILE, document.at((*table.path, key, index)), message, hint)
