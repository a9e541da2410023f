"""Completions in the policy files: the names and words that can follow at a place of a buffer."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sidecar.domain.sessions import Method
from sidecar.policy.editing.buffers import Buffer
from sidecar.policy.editing.fields import fields_of
from sidecar.policy.editing.symbols import Occurrence, SymbolKind
from sidecar.policy.model import definitions
from sidecar.policy.needs.conditions import ConditionKind
from sidecar.policy.needs.rows import PREFIX
from sidecar.policy.routes import METHODS
from sidecar.policy.rules import ANY


class WordKind(StrEnum):
    """Kind of a completion. The value is shown beside it."""

    LINE = "kind of line"
    ROLE = "role"
    SECTION = "section"
    ACTION = "action"
    EFFECT = "effect"
    CONDITION = "condition"
    METHOD = "method"
    TARGET = "target of a route"
    KEY = "key"
    VALUE = "value"
    PATH = "path"


@dataclass(frozen=True, slots=True)
class Candidate:
    """Word that can be written. ``text`` replaces the characters of the completion's span."""

    kind: WordKind
    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """Words for the characters from ``start`` to before ``end``."""

    start: int
    end: int
    words: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Names:
    """Declared names, and the paths of routes. ``titles``: titles of roles, sections and conditions by name."""

    roles: tuple[str, ...] = ()
    sections: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    conditions: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    titles: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def actions_of(self, section: str) -> tuple[str, ...]:
        """Return the actions of a section; of an unknown one or ``*``, all actions."""
        if section in self.sections:
            return self.sections[section]
        return tuple(dict.fromkeys(action for actions in self.sections.values() for action in actions))

    def words(self, kind: WordKind, names: Iterable[str]) -> list[Candidate]:
        return [Candidate(kind, name, self.titles.get((kind.value, name), "")) for name in names]


def declared_names(found: Iterable[Occurrence], paths: Iterable[str], titles: Mapping[tuple[str, str], str]) -> Names:
    """Return the names that buffers declare, in the order of the files."""
    by_kind: dict[SymbolKind, list[str]] = {kind: [] for kind in SymbolKind}
    actions: dict[str, list[str]] = {}
    for one in found:
        if one.declares:
            by_kind[one.kind].append(one.name)
            if one.kind is SymbolKind.ACTION:
                actions.setdefault(one.section, []).append(one.name)
    sections = {name: tuple(actions.get(name, ())) for name in by_kind[SymbolKind.SECTION]}
    return Names(tuple(by_kind[SymbolKind.ROLE]), sections, tuple(by_kind[SymbolKind.CONDITION]), tuple(paths), titles)


def complete(buffer: Buffer, offset: int, names: Names) -> Completion:
    """Return the words for the place before ``offset``. Comments have none."""
    line = buffer.line_of(offset)
    before = buffer.text[buffer.line_start(line) : offset]
    after = re.match(r"[\w*-]*", buffer.text[offset : buffer.line_end(line)])
    end = offset + (after.end() if after else 0)
    if before.lstrip().startswith("#"):
        return Completion(offset, offset)
    if buffer.file.endswith(".csv"):
        words, token = _csv_words(buffer.file, before, names)
    elif buffer.file.endswith(".toml"):
        words, token = _toml_words(buffer, line, before, names)
    else:
        words, token = _model_words(before)
    return Completion(offset - len(token), end, tuple(words))


# -- CSV ---------------------------------------------------------------------------------------------------------------

_EFFECTS: Final = ("allow", "deny")


def _csv_words(file: str, before: str, names: Names) -> tuple[list[Candidate], str]:
    """Return the words for the last field of an incomplete line, and its part that is written."""
    earlier = [field.text for field in fields_of(Buffer(file, before.rpartition(",")[0]), 1)] if "," in before else []
    token = before.rpartition(",")[2].lstrip(" \t").removeprefix('"')
    match file:
        case "policy.csv":
            return _rule_words(earlier, names), token
        case "needs.csv":
            return _need_words(earlier, token, names)
        case "expectations.csv":
            return _expectation_words(earlier, token, names)
        case _:
            return _route_words(earlier, token, names)


def _rule_words(earlier: list[str], names: Names) -> list[Candidate]:
    if not earlier:
        return [Candidate(WordKind.LINE, "p", "rule"), Candidate(WordKind.LINE, "g", "inheritance")]
    if earlier[0] == "g":
        return names.words(WordKind.ROLE, names.roles) if len(earlier) < 3 else []
    return _cell_words(earlier, names) if len(earlier) < 4 else _effects(len(earlier) == 4)


def _cell_words(earlier: list[str], names: Names, *, any_role: bool = False) -> list[Candidate]:
    """Return the words of role, section or action, as fields 1 to 3."""
    match len(earlier):
        case 1:
            return [*names.words(WordKind.ROLE, names.roles), *(_any("all roles", WordKind.ROLE) if any_role else [])]
        case 2:
            return [*names.words(WordKind.SECTION, names.sections), *_any("all sections", WordKind.SECTION)]
        case 3:
            actions = names.actions_of(earlier[2])
            return [*names.words(WordKind.ACTION, actions), *_any("all actions", WordKind.ACTION)]
        case _:
            return []


def _any(detail: str, kind: WordKind) -> list[Candidate]:
    return [Candidate(kind, ANY, detail)]


def _effects(wanted: bool = True) -> list[Candidate]:
    return [Candidate(WordKind.EFFECT, effect) for effect in _EFFECTS] if wanted else []


def _need_words(earlier: list[str], token: str, names: Names) -> tuple[list[Candidate], str]:
    if not earlier:
        return [Candidate(WordKind.LINE, "needs", "conditions of a cell")], token
    if len(earlier) == 4:
        return _condition_words(token, names)
    return _cell_words(earlier, names, any_role=True), token


def _expectation_words(earlier: list[str], token: str, names: Names) -> tuple[list[Candidate], str]:
    if not earlier:
        return _effects(), token
    if len(earlier) != 4:
        return _cell_words(earlier, names), token
    if token.startswith(PREFIX + " "):
        return _condition_words(token.removeprefix(PREFIX), names)
    return [Candidate(WordKind.LINE, PREFIX, "conditions that are missing")], token


def _condition_words(token: str, names: Names) -> tuple[list[Candidate], str]:
    *listed, last = (part.lstrip(" ") for part in token.split("|"))
    taken = {one.strip(" ") for one in listed}
    return names.words(WordKind.CONDITION, (one for one in names.conditions if one not in taken)), last


def _route_words(earlier: list[str], token: str, names: Names) -> tuple[list[Candidate], str]:
    match len(earlier):
        case 0:
            prefix, own, rest = token.rpartition(" ")
            pairs = [f"{section}/{action}" for section, actions in names.sections.items() for action in actions]
            words = [Candidate(WordKind.TARGET, pair) for pair in pairs]
            fixed = [Candidate(WordKind.TARGET, word) for word in ("public", "unmatched")]
            return ([*words, *fixed] if not own else words), rest if prefix == "own" else token
        case 1:
            return [Candidate(WordKind.METHOD, method) for method in METHODS], token
        case 2:
            return [Candidate(WordKind.PATH, path) for path in names.paths], token
        case _:
            return [], token


# -- TOML --------------------------------------------------------------------------------------------------------------

_STRING: Final = re.compile(r'([A-Za-z_-]+)\s*=\s*(?:\[[^\]{=]*)?"([^"]*)$')
_BARE: Final = re.compile(r"([A-Za-z_]+)\s*=\s*(\w*)$")
_KEY: Final = re.compile(r"(?:^|[{,])\s*([A-Za-z_-]*)$")
_HEADER: Final = re.compile(r"\s*\[+\s*([A-Za-z_-]+)(?:\s*\.\s*\"?([^\]\".]+))?")
_KEYS: Final = {
    "roles": ("title", "description", "assignable"),
    "sections": ("title", "actions", "action_titles", "routes"),
    "public": ("path", "methods"),
    "conditions": ("title", *(kind.value for kind in ConditionKind)),
    "second_factor": ("wait",),
    "routes": ("path", "methods", "action"),
    "hours": ("days", "from", "to", "zone"),
}
_PROOFS: Final = tuple(method.value for method in Method if method is not Method.SECOND_FACTOR)


def _toml_words(buffer: Buffer, line: int, before: str, names: Names) -> tuple[list[Candidate], str]:
    table, name = _table_at(buffer, line)
    found = _STRING.search(before)
    if found is not None:
        return _string_words(table, name, found[1], names), found[2]
    bare = _BARE.search(before)
    if bare is not None:
        flags = bare[1] in ("assignable", "second_factor", "own")
        return [Candidate(WordKind.VALUE, value) for value in ("true", "false") if flags], bare[2]
    key = _KEY.search(before)
    if key is None:
        return [], ""
    inline = before.count("{") > before.count("}")
    if inline and "action_titles" in before:
        return names.words(WordKind.ACTION, names.actions_of(name)), key[1]
    if inline:
        table = "hours" if "hours" in before else "routes" if table == "sections" else ""
    kind = WordKind.CONDITION if table == "conditions" else WordKind.KEY
    return [Candidate(kind, one, f"key of {table}") for one in _KEYS.get(table, ())], key[1]


def _string_words(table: str, name: str, key: str, names: Names) -> list[Candidate]:
    if key == "action":
        return names.words(WordKind.ACTION, names.actions_of(name))
    if key != "methods":
        return []
    listed = _PROOFS if table == "conditions" else METHODS
    return [Candidate(WordKind.METHOD, one) for one in listed]


def _table_at(buffer: Buffer, line: int) -> tuple[str, str]:
    """Return table and name of the nearest header above a line, such as ``sections`` and ``users``."""
    for number in range(line, 0, -1):
        match = _HEADER.match(buffer.line(number))
        if match is not None:
            return match[1], match[2] or ""
    return "", ""


# -- model.conf --------------------------------------------------------------------------------------------------------


def _model_words(before: str) -> tuple[list[Candidate], str]:
    token = before.lstrip()
    headers = [Candidate(WordKind.KEY, f"[{section}]") for section, _ in definitions()]
    return [*headers, *(Candidate(WordKind.VALUE, text) for _, text in definitions())], token
