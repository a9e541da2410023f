"""What is wrong with a policy: the closed list of codes, and the one form in which every finding is told.

Readers add to a `Findings` and go on: all problems are found at once, nobody raises. The list is bounded, so that a
hostile file costs time in proportion to its size and never memory without end.
"""

import difflib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from sidecar.domain.text import fold_case

MAX_NEAR: Final = 320
"""Characters of a name that may have been meant for another. A longer one resembles none."""

POLICY_FILES = ("policy.csv", "roles.toml", "sections.toml", "expectations.csv", "routes.csv")
MODEL_FILE = "model.conf"
FILES = (MODEL_FILE, *POLICY_FILES)
POLICY_FOLDER = "policy"


class Severity(StrEnum):
    """An error keeps a policy from being activated; a warning does not, unless somebody asks for it (`--strict`)."""

    ERROR = "error"
    WARNING = "warning"


class DiagnosticCode(StrEnum):
    """The closed list. policy/README.md says of each what it means and how to mend it."""

    # the file itself
    MISSING_FILE = "missing-file"
    EMPTY_FILE = "empty-file"
    TRUNCATED_FILE = "truncated-file"
    UNREADABLE_FILE = "unreadable-file"
    FILE_TOO_LARGE = "file-too-large"
    FILE_PERMISSIONS = "file-permissions"
    MERGE_CONFLICT = "merge-conflict"
    # its characters
    BYTE_ORDER_MARK = "byte-order-mark"
    NOT_UTF_8 = "not-utf-8"
    CR_LINE_END = "cr-line-end"
    TAB = "tab"
    CONTROL_CHARACTER = "control-character"
    INVISIBLE_CHARACTER = "invisible-character"
    LOOKALIKE_CHARACTER = "lookalike-character"
    # lines of the CSV files
    INLINE_COMMENT = "inline-comment"
    UNBALANCED_QUOTE = "unbalanced-quote"
    UNKNOWN_RULE_TYPE = "unknown-rule-type"
    FIELD_COUNT = "field-count"
    TRAILING_COMMA = "trailing-comma"
    EMPTY_FIELD = "empty-field"
    # names
    UNKNOWN_ROLE = "unknown-role"
    UNKNOWN_SECTION = "unknown-section"
    UNKNOWN_ACTION = "unknown-action"
    INVALID_NAME = "invalid-name"
    CONFUSABLE_NAME = "confusable-name"
    MISPLACED_WILDCARD = "misplaced-wildcard"
    INVALID_EFFECT = "invalid-effect"
    # rules
    DUPLICATE_RULE = "duplicate-rule"
    ROLE_CYCLE = "role-cycle"
    ROLE_DEPTH = "role-depth"
    DENY_OVERRIDES_ALLOW = "deny-overrides-allow"
    SHADOWED_RULE = "shadowed-rule"
    UNREACHABLE_RULE = "unreachable-rule"
    UNUSED_ROLE = "unused-role"
    POLICY_TOO_LARGE = "policy-too-large"
    # the TOML files
    TOML_SYNTAX = "toml-syntax"
    DUPLICATE_KEY = "duplicate-key"
    UNKNOWN_KEY = "unknown-key"
    MISSING_KEY = "missing-key"
    WRONG_TYPE = "wrong-type"
    INVALID_TEXT = "invalid-text"
    DUPLICATE_ACTION = "duplicate-action"
    # routes
    INVALID_PATH = "invalid-path"
    INVALID_METHOD = "invalid-method"
    DUPLICATE_ROUTE = "duplicate-route"
    AMBIGUOUS_ROUTE = "ambiguous-route"
    PUBLIC_EVERYTHING = "public-everything"
    PUBLIC_OVER_SECTION = "public-over-section"
    # the tests of the policy
    DUPLICATE_EXPECTATION = "duplicate-expectation"
    CONTRADICTING_EXPECTATION = "contradicting-expectation"
    FAILED_EXPECTATION = "failed-expectation"
    MISSING_EXPECTATION = "missing-expectation"
    INVALID_TARGET = "invalid-target"
    FAILED_ROUTE = "failed-route"
    UNTESTED_ROUTE = "untested-route"
    LOW_COVERAGE = "low-coverage"
    # what no edit may take away (R26)
    ADMINISTRATOR_MISSING = "administrator-missing"
    ADMINISTRATOR_LOCKED_OUT = "administrator-locked-out"
    MEMBER_TOO_WIDE = "member-too-wide"
    ROLE_IN_USE = "role-in-use"
    # model.conf
    MODEL_SYNTAX = "model-syntax"
    MODEL_SECTION = "model-section"
    MODEL_KEY = "model-key"
    MODEL_REQUEST = "model-request"
    MODEL_POLICY = "model-policy"
    MODEL_ROLES = "model-roles"
    MODEL_EFFECT = "model-effect"
    MODEL_MATCHER = "model-matcher"
    MODEL_FUNCTION = "model-function"
    # the proof
    CASBIN_DISAGREES = "casbin-disagrees"
    CASBIN_INSTALLATION = "casbin-installation"

    @property
    def severity(self) -> Severity:
        return Severity.WARNING if self in _WARNINGS else Severity.ERROR


_WARNINGS = frozenset(
    {
        DiagnosticCode.DENY_OVERRIDES_ALLOW,
        DiagnosticCode.SHADOWED_RULE,
        DiagnosticCode.UNREACHABLE_RULE,
        DiagnosticCode.UNUSED_ROLE,
        DiagnosticCode.PUBLIC_OVER_SECTION,
    }
)

JUDGEMENTS = frozenset(
    {
        DiagnosticCode.FAILED_EXPECTATION,
        DiagnosticCode.MISSING_EXPECTATION,
        DiagnosticCode.FAILED_ROUTE,
        DiagnosticCode.UNTESTED_ROUTE,
    }
)
"""What a policy that compiles may still fail: its own tests. Nothing is activated then, but it can be looked at."""

NO_FILE = "`sidecar init NEW-FOLDER` writes a commented one to copy from"

LONGEST = 800
"""Characters of a message: a line of a megabyte is not quoted whole."""

AT_MOST = 500
"""Findings of one code in one file. The last one says how many more there are."""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding: where, what, what now. ``line`` and ``column`` count from 1, columns in characters."""

    severity: Severity
    code: DiagnosticCode
    file: str
    line: int
    column: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        warning = "warning: " if self.severity is Severity.WARNING else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.code}: {warning}{self.message}{hint}"

    def __lt__(self, other: "Diagnostic") -> bool:
        return self.position < other.position

    @property
    def position(self) -> tuple[str, int, int]:
        """The order in which findings are told; those of one place keep the order in which they were found."""
        return (self.file, self.line, self.column)

    @property
    def is_error(self) -> bool:
        return self.severity is Severity.ERROR

    def as_error(self) -> "Diagnostic":
        """The same finding for who wants warnings to be errors (`--strict`)."""
        return replace(self, severity=Severity.ERROR)


def path_of(name: str) -> str:
    """The name by which a file of the policy goes in every answer: ``policy/policy.csv``, ``model.conf``."""
    return name if name == MODEL_FILE else f"{POLICY_FOLDER}/{name}"


class Findings:
    """What is wrong so far. Bounded: at most `AT_MOST` of a code in a file, the rest is counted."""

    def __init__(self) -> None:
        self._found: list[Diagnostic] = []
        self._seen: Counter[tuple[str, DiagnosticCode]] = Counter()

    def add(self, code: DiagnosticCode, file: str, at: tuple[int, int], message: str, hint: str) -> None:
        """``file`` is the bare name, ``at`` line and column."""
        self._seen[file, code] += 1
        if self._seen[file, code] <= AT_MOST:
            message = message if len(message) <= LONGEST else message[: LONGEST - 1] + "…"
            self._found.append(Diagnostic(code.severity, code, path_of(file), *at, message, hint))

    def wants(self, code: DiagnosticCode, file: str) -> bool:
        """False once nothing would be added any more: spares the price of a hint."""
        return self._seen[file, code] < AT_MOST

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        self._found.extend(diagnostics)

    @property
    def has_errors(self) -> bool:
        return any(diagnostic.is_error for diagnostic in self._found)

    def errors_in(self, *files: str) -> bool:
        paths = {path_of(file) for file in files}
        return any(diagnostic.is_error and diagnostic.file in paths for diagnostic in self._found)

    def sorted(self) -> tuple[Diagnostic, ...]:
        ordered = sorted(self._found)
        for (file, code), count in self._seen.items():
            if count > AT_MOST:
                index = max(i for i, d in enumerate(ordered) if d.file == path_of(file) and d.code is code)
                more = f"{ordered[index].message}; and {count - AT_MOST:,} more of this kind"
                ordered[index] = replace(ordered[index], message=more)
        return tuple(ordered)


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """``did you mean "marketer"?``, or nothing when no candidate is near."""
    nearest = near(name, candidates)
    return f'did you mean "{nearest}"?' if nearest else ""


def meant(name: str, candidates: Iterable[str]) -> str:
    """`did_you_mean`, else the names that there are."""
    known = list(candidates)
    return did_you_mean(name, known) or f"known: {', '.join(known[:20])}"


def near(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that was most likely meant. Case, spaces and underscores count for nothing."""
    folded = fold_case(name, MAX_NEAR)
    if folded is None:
        return None
    plain = "-".join(folded.replace("_", " ").split())
    by_plain = {fold_case(candidate, MAX_NEAR) or candidate: candidate for candidate in candidates}
    if plain in by_plain:
        return by_plain[plain]
    close = difflib.get_close_matches(plain[:80], by_plain, n=1, cutoff=0.6)
    return by_plain[close[0]] if close else None
