"""Check of model.conf: accepts exactly one model, and rejects others with the reason.

Spacing and comments are free. The file is never passed to pycasbin: its tokens are compared with those of the model for
which the table is built. The proof runs on the text below.
"""

import re
from typing import NamedTuple

from sidecar.policy.diagnostics import MODEL_FILE, DiagnosticSink, did_you_mean
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.text.csv_reader import read_lines, without_invisible

MODEL = """\
[request_definition]
r = sub, obj, act

[policy_definition]
p = sub, obj, act, eft

[role_definition]
g = _, _

[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))

[matchers]
m = g(r.sub, p.sub) && (p.obj == "*" || r.obj == p.obj) && (p.act == "*" || r.act == p.act)
"""


class _Part(NamedTuple):
    section: str
    key: str
    value: str
    code: Code
    problem: str


_PARTS = {
    part.section: part
    for part in (
        _Part("request_definition", "r", "sub, obj, act", Code.MODEL_REQUEST, "a request is role, section, action"),
        _Part(
            "policy_definition",
            "p",
            "sub, obj, act, eft",
            Code.MODEL_POLICY,
            "a rule is role, section, action, effect; without a column named eft every deny line would allow",
        ),
        _Part("role_definition", "g", "_, _", Code.MODEL_ROLES, "a role inherits a role, in no domain"),
        _Part(
            "policy_effect",
            "e",
            "some(where (p.eft == allow)) && !some(where (p.eft == deny))",
            Code.MODEL_EFFECT,
            "a request needs an allow and no deny: other effects allow where no rule matches, or ignore a deny",
        ),
        _Part(
            "matchers",
            "m",
            'g(r.sub, p.sub) && (p.obj == "*" || r.obj == p.obj) && (p.act == "*" || r.act == p.act)',
            Code.MODEL_MATCHER,
            "names are compared whole; * matches every section or every action",
        ),
    )
}

_FUNCTIONS = {
    "eval": "it executes policy text as code: one cell can allow everything",
    "regexMatch": "it matches prefixes, and one pattern can stall every check",
    "globMatch": "its meaning differs between versions of pycasbin",
    "ipMatch": "it raises on values that are not IP addresses",
    "timeMatch": "it reads the local clock: the same request could get different decisions",
}
_ANY_FUNCTION = re.compile(r"\b([A-Za-z_]\w*)\s*\(")
_BEFORE_COMMENT = re.compile(r"""((?:"[^"]*"|'[^']*'|[^"'#])*)#""")
_TOKEN = re.compile(r'\s*("[^"]*"|\'[^\']*\'|[A-Za-z_][\w.]*|&&|\|\||==|!=|[^\s])')


_FORM = "write [section] and below it key = value, as in the model that ships"


class _Definition(NamedTuple):
    section: str
    key: str
    value: str
    at: tuple[int, int]


def check_model(data: bytes, findings: DiagnosticSink) -> None:
    """Report all differences between the file and the model."""
    lines = read_lines(data, MODEL_FILE, findings, must_end=False)
    if not lines:
        return
    reader = _Reader(findings)
    for number, text in lines:
        reader.take(number, _uncommented(without_invisible(text)))
    reader.end()
    seen: dict[str, int] = {}
    for definition in reader.definitions:
        part = _PARTS[definition.section]
        if definition.key != part.key:
            _report_key(part, definition, findings)
        elif definition.section in seen:
            message = f'"{part.key}" is already defined on line {seen[definition.section]}: the last one would win'
            findings.add(Code.MODEL_KEY, MODEL_FILE, definition.at, message, "keep one")
        else:
            _compare(part, definition, findings)
        seen.setdefault(definition.section, definition.at[0])
    for part in _PARTS.values():
        if part.section not in seen:
            problem = f"[{part.section}] " + ("is empty" if part.section in reader.sections else "is missing")
            at = reader.sections.get(part.section, (lines[-1].number, 1))
            findings.add(Code.MODEL_SECTION, MODEL_FILE, at, problem, f"add {part.key} = {part.value}")


def _report_key(part: _Part, definition: _Definition, findings: DiagnosticSink) -> None:
    key = definition.key
    if key == part.key.upper():
        message = f'"{key}" would be ignored: keys are lower case'
    elif key.startswith(part.key) and key[1:].isdigit():
        message = f'"{key}": only one definition of each kind is allowed, without a number'
    else:
        message = f'"{key}" is not a key of [{part.section}]'
    findings.add(Code.MODEL_KEY, MODEL_FILE, definition.at, message, f"write {part.key} = {part.value}")


def _compare(part: _Part, definition: _Definition, findings: DiagnosticSink) -> None:
    if _TOKEN.findall(definition.value) == _TOKEN.findall(part.value):
        return
    hint = f"write {part.key} = {part.value}"
    at = (definition.at[0], definition.at[1])
    if part.key == "m":
        for function in dict.fromkeys(_ANY_FUNCTION.findall(definition.value)):
            if function not in ("g", "and", "or", "not", "in"):
                problem = _FUNCTIONS.get(function, "names are compared whole, with no function but g")
                findings.add(Code.MODEL_FUNCTION, MODEL_FILE, at, f"{function}() is not accepted: {problem}", hint)
    findings.add(part.code, MODEL_FILE, at, f'"{_short(definition.value)}" is not accepted: {part.problem}', hint)


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "…"


class _Reader:
    """Line parser for sections and definitions. A backslash at a line's end continues the line."""

    def __init__(self, findings: DiagnosticSink) -> None:
        self.definitions: list[_Definition] = []
        self.sections: dict[str, tuple[int, int]] = {}
        self._findings = findings
        self._section: str | None = None
        self._pending = ""
        self._at = (1, 1)

    def take(self, number: int, text: str) -> None:
        stripped = text.strip()
        if not self._pending:
            self._at = (number, len(text) - len(text.lstrip()) + 1)
        if stripped.endswith("\\"):
            self._pending += stripped[:-1] + " "
            return
        whole, self._pending = self._pending + stripped, ""
        if whole.startswith("["):
            self._open(whole)
        elif "=" in whole:
            self._define(whole)
        elif whole:
            self._report(Code.MODEL_SYNTAX, f'"{_short(whole)}" is neither [a section] nor key = value', _FORM)

    def end(self) -> None:
        if self._pending:
            self._report(Code.MODEL_SYNTAX, "the last line ends in a backslash", "delete it")

    def _open(self, text: str) -> None:
        name = text[1:-1] if text.endswith("]") else ""
        self._section = name if name in _PARTS else None
        if not name:
            self._section = ""
            self._report(Code.MODEL_SYNTAX, f'"{_short(text)}" is not a section', "write [name] on a line of its own")
        elif name not in _PARTS:
            hint = did_you_mean(name, _PARTS) or f"known: {', '.join(_PARTS)}"
            self._section = ""
            self._report(Code.MODEL_SECTION, f"[{_short(name)}] is not a section of the model", hint)
        elif name in self.sections:
            self._report(Code.MODEL_SECTION, f"[{name}] is already on line {self.sections[name][0]}", "keep one")
        else:
            self.sections[name] = self._at

    def _define(self, text: str) -> None:
        if self._section is None:
            self._report(Code.MODEL_SYNTAX, "the definition is before the first [section]", _FORM)
        elif self._section:  # an unknown section is one finding; its lines are skipped
            key, _, value = text.partition("=")
            self.definitions.append(_Definition(self._section, key.strip(), value.strip(), self._at))

    def _report(self, code: Code, message: str, hint: str) -> None:
        self._findings.add(code, MODEL_FILE, self._at, message, hint)


def _uncommented(text: str) -> str:
    """Remove a comment: ``;`` or ``#`` at the line's start, or a ``#`` outside quotes further on."""
    if text.lstrip().startswith(("#", ";")):
        return ""
    comment = _BEFORE_COMMENT.match(text)
    return comment[1] if comment else text


def definitions() -> list[tuple[str, str]]:
    """Return section and definition of each part of the model."""
    return [(part.section, f"{part.key} = {part.value}") for part in _PARTS.values()]
