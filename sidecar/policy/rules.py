"""policy.csv → rules, each with its line. What it names must be declared; nothing is skipped and nothing is guessed.

Also the order of roles: who inherits whom, refused where it runs in a circle or deeper than pycasbin follows.
"""

import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import Findings, did_you_mean, near, path_of
from sidecar.policy.sections import Vocabulary
from sidecar.policy.text import Record, read_lines, records

FILE = "policy.csv"
ANY = "*"
MAX_DEPTH = 9
"""Links of ``g`` that pycasbin follows; beyond them it says no without a word."""
MAX_RULES = 200_000


class Effect(StrEnum):
    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Rule:
    """One ``p`` line. ``section`` and ``action`` may be `ANY`."""

    line: int
    role: str
    section: str
    action: str
    effect: Effect

    @property
    def id(self) -> str:
        return f"{path_of(FILE)}:{self.line}"

    @property
    def text(self) -> str:
        return f"p, {self.role}, {self.section}, {self.action}, {self.effect}"


@dataclass(frozen=True, slots=True)
class Inheritance:
    """One ``g`` line: ``role`` may what ``inherits`` may, and more."""

    line: int
    role: str
    inherits: str


@dataclass(frozen=True, slots=True)
class RuleBook:
    """All lines of policy.csv that could be read."""

    rules: tuple[Rule, ...] = ()
    inheritance: tuple[Inheritance, ...] = ()


def read_rules(data: bytes, vocabulary: Vocabulary, findings: Findings) -> RuleBook:
    """The rules and inheritances; what is wrong with the others is among the findings."""
    rules: list[Rule] = []
    inheritance: list[Inheritance] = []
    first_lines: dict[tuple[str, ...], int] = {}
    lines = read_lines(data, FILE, findings)
    for record in records(lines, FILE, findings):
        kind = record.fields[0]
        if not _has_form(record, findings):
            continue
        first = first_lines.setdefault(record.fields, record.line)
        if first != record.line:
            message = f"this line says what line {first} says"
            findings.add(Code.DUPLICATE_RULE, FILE, record.at(0), message, "delete one of them")
        elif kind == "p":
            rules.extend(_read_rule(record, vocabulary, findings))
        elif _all([is_role(record, i, vocabulary, FILE, findings) for i in (1, 2)]):
            inheritance.append(Inheritance(record.line, record.fields[1], record.fields[2]))
    if not rules and not findings.errors_in(FILE):
        findings.add(Code.EMPTY_FILE, FILE, (1, 1), "the file holds no rule: everybody would be denied everything")
    if len(rules) > MAX_RULES:
        findings.add(Code.POLICY_TOO_LARGE, FILE, (1, 1), f"more than {MAX_RULES:,} rules", "use * or inheritance")
    return RuleBook(tuple(rules), tuple(inheritance))


_FORMS = {"p": ("p, role, section, action, allow|deny", 5), "g": ("g, role, inherited-role", 3)}


def _has_form(record: Record, findings: Findings) -> bool:
    kind = record.fields[0]
    if kind not in _FORMS:
        hint = "write p or g" if kind[:1].lower() not in _FORMS else f'write "{kind[0].lower()}"'
        if kind.startswith(("/", ";", "-", "*")):
            hint = "a comment begins with #"
        message = f'"{_short(kind)}" is not a kind of line: other readers would skip it without a word'
        findings.add(Code.UNKNOWN_RULE_TYPE, FILE, record.at(0), message, hint)
        return False
    return has_fields(record, *_FORMS[kind], FILE, findings)


def has_fields(record: Record, form: str, count: int, file: str, findings: Findings) -> bool:
    """The right number of fields. Too many: reported at the first of them; too few: at the line's begin."""
    if len(record.fields) == count:
        return True
    at = record.at(count) if len(record.fields) > count else record.at(0)
    message = f"{len(record.fields)} fields instead of {count}"
    findings.add(Code.FIELD_COUNT, file, at, message, f"the form is: {form}")
    return False


def _read_rule(record: Record, vocabulary: Vocabulary, findings: Findings) -> Iterable[Rule]:
    _, role, section, action, effect = record.fields
    good = _all(
        [
            is_role(record, 1, vocabulary, FILE, findings),
            is_target(record, 2, vocabulary, FILE, findings, wildcards=True),
            is_effect(record, 4, FILE, findings),
        ]
    )
    if good:
        yield Rule(record.line, role, section, action, Effect(effect))


def _all(checks: Iterable[bool]) -> bool:
    """All of them, after each has had its say."""
    return all(list(checks))


# -- names -------------------------------------------------------------------------------------------------------------


def is_effect(record: Record, index: int, file: str, findings: Findings) -> bool:
    effect = record.fields[index]
    if effect in ("allow", "deny"):
        return True
    hint = did_you_mean(effect, ("allow", "deny")) or "write allow or deny, in lower case"
    message = f'"{_short(effect)}" is neither allow nor deny: other readers would ignore the line'
    findings.add(Code.INVALID_EFFECT, file, record.at(index), message, hint)
    return False


def is_role(record: Record, index: int, vocabulary: Vocabulary, file: str, findings: Findings) -> bool:
    if vocabulary.roles is None or record.fields[index] in vocabulary.roles:
        return True
    if "*" in record.fields[index]:
        message = f'"{_short(record.fields[index])}" is not a role: a rule names one role'
        hint = "give the rule to a role that the others inherit"
        findings.add(Code.MISPLACED_WILDCARD, file, record.at(index), message, hint)
        return False
    _unknown(Code.UNKNOWN_ROLE, record, index, "a role", vocabulary.roles, file, findings)
    return False


def is_target(
    record: Record, index: int, vocabulary: Vocabulary, file: str, findings: Findings, *, wildcards: bool
) -> bool:
    """Section and action, in two fields from ``index`` on."""
    section, action = record.fields[index : index + 2]
    if vocabulary.sections is None:
        return True
    good = True
    for i in (index, index + 1):
        if "*" in record.fields[i] and not (wildcards and record.fields[i] == ANY):
            message = f'"{_short(record.fields[i])}": * ' + ("stands alone in its field" if wildcards else "is no name")
            hint = "write * for all, or one name" if wildcards else "a test names one section and one action"
            findings.add(Code.MISPLACED_WILDCARD, file, record.at(i), message, hint)
            good = False
    if not good:
        return False
    if section != ANY and section not in vocabulary.sections:
        _unknown(Code.UNKNOWN_SECTION, record, index, "a section", vocabulary.sections, file, findings)
        good = False
    known = vocabulary.sections[section].actions if section in vocabulary.sections else vocabulary.actions
    if action != ANY and action not in known:
        where = f'an action of "{section}"' if section in vocabulary.sections else "an action of any section"
        _unknown(Code.UNKNOWN_ACTION, record, index + 1, where, known, file, findings)
        good = False
    return good


def _unknown(
    code: Code, record: Record, index: int, what: str, known: Collection[str], file: str, findings: Findings
) -> None:
    name = record.fields[index]
    if not findings.wants(code, file):
        findings.add(code, file, (record.line, 1), "")
        return
    plain = _as_ascii(name)
    strange = next((c for c in name if not c.isascii()), None)
    if strange is not None and (nearest := near(plain, known)) is not None:
        described = f"U+{ord(strange):04X} ({unicodedata.name(strange, 'no name')})"
        message = f'"{name}" is not {what}: it holds {described}, which only looks like a letter of "{nearest}"'
        findings.add(Code.LOOKALIKE_CHARACTER, file, record.at(index), message, f'did you mean "{nearest}"?')
        return
    message = f'"{_short(name)}" is not {what}'
    if near(name, known) is not None and name.casefold() in known and name not in known:
        message += ": names are lower case"
    findings.add(code, file, record.at(index), message, did_you_mean(name, known) or _some(known))


def _some(known: Collection[str]) -> str:
    shown = sorted(known)[:12]
    return "known: " + ", ".join(shown) + (", …" if len(known) > len(shown) else "")


_LOOKALIKES = str.maketrans(
    "аеорсухіјѕһԁԛԝкмтвнгАВЕКМНОРСТХαβεικνορτυχɑɡıℓ",
    "aeopcyxijshdqwkmtbhrabekmhopctxabeiknoptuxagil",
)


def _as_ascii(name: str) -> str:
    """What a reader sees: look-alikes of other scripts as the letters they resemble, marks and widths taken off."""
    decomposed = unicodedata.normalize("NFKD", name.translate(_LOOKALIKES))
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "…"


# -- who inherits whom -------------------------------------------------------------------------------------------------


def read_closures(
    roles: Iterable[str], inheritance: Iterable[Inheritance], findings: Findings
) -> Mapping[str, tuple[str, ...]]:
    """For each role itself and all that it inherits, nearest first. Circles and too long chains are findings."""
    parents: dict[str, list[Inheritance]] = {role: [] for role in roles}
    for link in inheritance:
        parents.setdefault(link.role, []).append(link)
    depth, circular = _depths(parents)
    for link in circular:
        message = f'"{link.role}" inherits "{link.inherits}", which inherits "{link.role}" in turn'
        if link.role == link.inherits:
            message = f'"{link.role}" inherits itself'
        findings.add(Code.ROLE_CYCLE, FILE, (link.line, 1), message, "delete one of the lines of the circle")
    if circular:
        return {}
    for links in parents.values():
        for link in links:
            if depth[link.inherits] == MAX_DEPTH:
                message = f'"{link.role}" inherits over more than {MAX_DEPTH} links: pycasbin would not follow them'
                findings.add(Code.ROLE_DEPTH, FILE, (link.line, 1), message, "inherit from a nearer role")
    return {role: tuple(_nearest_first(role, parents)) for role in parents}


def _nearest_first(role: str, parents: Mapping[str, list[Inheritance]]) -> Iterable[str]:
    reached = dict.fromkeys((role,))
    queue = [role]
    for current in queue:
        for link in parents[current]:
            if link.inherits not in reached:
                reached[link.inherits] = None
                queue.append(link.inherits)
    return reached


def _depths(parents: Mapping[str, list[Inheritance]]) -> tuple[dict[str, int], list[Inheritance]]:
    """The longest chain above each role, and the lines that close a circle. Without recursion: chains may be long."""
    depth: dict[str, int] = {}
    circular: list[Inheritance] = []
    for start in parents:
        if start in depth:
            continue
        stack = [(start, iter(parents[start]))]
        open_roles = {start}
        while stack:
            role, links = stack[-1]
            link = next(links, None)
            if link is None:
                known = [depth.get(up.inherits, 0) for up in parents[role]]
                depth[role] = max((up + 1 for up in known), default=0)
                open_roles.discard(role)
                stack.pop()
            elif link.inherits in open_roles:
                circular.append(link)
            elif link.inherits not in depth:
                open_roles.add(link.inherits)
                stack.append((link.inherits, iter(parents[link.inherits])))
    return depth, circular
