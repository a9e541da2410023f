"""TOML reader with the line and column of each key.

`tomllib` parses the text but reports no positions; toml_scanner.py does. Getters report a missing key or a wrong type,
and continue.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import DiagnosticSink, did_you_mean
from sidecar.policy.text.confusables import false_sign
from sidecar.policy.text.csv_reader import read_lines, without_invisible
from sidecar.policy.text.toml_scanner import Path, TomlScanner, line_starts

_WHERE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_TWICE = ("Cannot overwrite", "Cannot declare", "Cannot redefine", "Cannot mutate", "Duplicate inline table key")


_FORM = 'write [table], key = "text" or key = ["a", "b"], and close what is opened'


@dataclass(frozen=True, slots=True)
class TomlDocument:
    """Parsed file. `positions` maps a path of keys and indexes to line and column."""

    file: str
    positions: Mapping[Path, tuple[int, int]]
    findings: DiagnosticSink

    def at(self, path: Path) -> tuple[int, int]:
        """Return the position of the key, or of the nearest element around it."""
        while path and path not in self.positions:
            path = path[:-1]
        return self.positions.get(path, (1, 1))


@dataclass(frozen=True, slots=True)
class TomlTable:
    """Table of the document, with typed getters for its keys."""

    document: TomlDocument
    path: Path
    values: Mapping[str, object]

    def report(self, code: Code, key: str | None, message: str, hint: str) -> None:
        """Report a finding at the line of the key, or at the table if ``key`` is None."""
        path = self.path if key is None else (*self.path, key)
        self.document.findings.add(code, self.document.file, self.document.at(path), message, hint)

    @property
    def name(self) -> str:
        return ".".join(str(part) for part in self.path if isinstance(part, str)) or "the file"

    def known(self, *keys: str) -> None:
        """Report each key that is not in ``keys``, so that a misspelt key is not a silent default."""
        for key in self.values:
            if key not in keys:
                hint = did_you_mean(key, keys) or f"known here: {', '.join(keys)}"
                self.report(Code.UNKNOWN_KEY, key, f'"{key}" is not a key of {self.name}', hint)

    def get(self, key: str, *, required: bool = True) -> object | None:
        value = self.values.get(key)
        if value is None and required:
            self.report(Code.MISSING_KEY, None, f'{self.name} has no "{key}"', f"add {key} = …")
        return value

    def text(self, key: str, *, required: bool = True) -> str | None:
        value = self.get(key, required=required)
        if value is None or isinstance(value, str):
            return value
        self._wrong(key, "a string", f'write {key} = "…"')
        return None

    def flag(self, key: str, *, default: bool) -> bool:
        value = self.get(key, required=False)
        if isinstance(value, bool):
            return value
        if value is not None:
            self._wrong(key, "true or false", "write it without quotes")
        return default

    def texts(self, key: str, *, required: bool = True) -> list[str] | None:
        value = self.get(key, required=required)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return value
        if value is not None:
            self._wrong(key, "a list of strings", f'write {key} = ["…", "…"]')
        return None

    def table(self, key: str) -> "TomlTable | None":
        """Return an optional table: ``key = {…}`` or ``[table.key]``."""
        value = self.get(key, required=False)
        if isinstance(value, dict):
            return TomlTable(self.document, (*self.path, key), value)
        if value is not None:
            self._wrong(key, "a table", f'write {key} = {{ name = "…" }}')
        return None

    def tables(self, key: str) -> Iterator["TomlTable"]:
        """Yield the tables of a list: ``[[key]]`` or ``key = [{…}]``."""
        value = self.get(key, required=False)
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            for index, item in enumerate(value):
                yield TomlTable(self.document, (*self.path, key, index), item)
        elif value is not None:
            self._wrong(key, "a list of tables", f"write [[{'.'.join((*map(str, self.path), key))}]]")

    def named(self, key: str) -> Iterator[tuple[str, "TomlTable"]]:
        """Yield the tables of a table: ``[key.name]``."""
        value = self.get(key)
        if not isinstance(value, dict):
            if value is not None:
                self._wrong(key, "tables", f"write [{key}.name]")
            return
        for name, item in value.items():
            if isinstance(item, dict):
                yield name, TomlTable(self.document, (*self.path, key, name), item)
            else:
                table = TomlTable(self.document, (*self.path, key), value)
                table.report(Code.WRONG_TYPE, name, f"{key}.{name} is not a table", f"write [{key}.{name}]")

    def _wrong(self, key: str, expected: str, hint: str) -> None:
        self.report(Code.WRONG_TYPE, key, f"{key} must be {expected}", hint)


def read_toml(data: bytes, file: str, findings: DiagnosticSink) -> TomlTable | None:
    """Return the root table, or None if the text is not TOML; ``findings`` then has the reason."""
    before = len(data.split(b"\n"))
    lines = read_lines(data, file, findings)
    if len(lines) < before - data.endswith(b"\n") or not lines:
        return None
    text = "\n".join(without_invisible(line.text) for line in lines) + "\n"
    try:
        values = tomllib.loads(text)
        positions = TomlScanner(text).positions()
    except RecursionError:
        findings.add(Code.TOML_SYNTAX, file, (1, 1), "the values are nested too deep", _FORM)
        return None
    except ValueError as error:
        _report_syntax(str(error), text, file, findings)
        return None
    return TomlTable(TomlDocument(file, positions, findings), (), values)


def _report_syntax(message: str, text: str, file: str, findings: DiagnosticSink) -> None:
    where = _WHERE.search(message)
    message = _WHERE.sub("", message)
    last = (text.count("\n"), 1)
    at = (int(where[1]), int(where[2])) if where and where[1] else last
    sign = false_sign(text.split("\n")[at[0] - 1][at[1] - 1 :][:1])
    if sign is not None:
        findings.add(Code.LOOKALIKE_CHARACTER, file, at, *sign[1:])
        return
    if not message.startswith(_TWICE):
        findings.add(Code.TOML_SYNTAX, file, at, f"this is not TOML: {message}", _FORM)
        return
    starts = line_starts(text)
    scanner = TomlScanner(text[: starts[at[0] - 1] + at[1] - 1])
    scanner.positions()
    name, at = scanner.repeated[-1] if scanner.repeated else ("this", at)
    findings.add(Code.DUPLICATE_KEY, file, at, f'duplicate key "{name}"', "keep one")
