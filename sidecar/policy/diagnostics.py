"""Diagnostics: the closed list of codes, and the common form of all findings.

Readers add to `DiagnosticSink` and continue: one run reports all problems, and no reader raises. The list is bounded,
so that memory stays bounded and time is linear in the size of a hostile file.
"""

import difflib
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec
from msgspec.structs import replace

from sidecar.domain.text import fold_case
from sidecar.policy.places import KNOWN, Place, Places, listed, merged

MAX_NEAR: Final = 320
"""Maximum length in characters of a name in a did-you-mean search. Longer names have no match."""

OPTIONAL_FILES: Final = ("conditions.toml", "needs.csv")
POLICY_FILES = ("policy.csv", "roles.toml", "sections.toml", "expectations.csv", "routes.csv", *OPTIONAL_FILES)
MODEL_FILE = "model.conf"
FILES = (MODEL_FILE, *POLICY_FILES)
POLICY_FOLDER = "policy"


class Severity(StrEnum):
    """Severity of a finding. An error prevents activation; a warning does so only with `--strict`."""

    ERROR = "error"
    WARNING = "warning"


class DiagnosticCode(StrEnum):
    """Closed list of codes. policy/README.md explains meaning and remedy of each."""

    # files, and their signature
    SIGNATURE = "signature"
    MISSING_FILE = "missing-file"
    EMPTY_FILE = "empty-file"
    TRUNCATED_FILE = "truncated-file"
    UNREADABLE_FILE = "unreadable-file"
    FILE_TOO_LARGE = "file-too-large"
    FILE_PERMISSIONS = "file-permissions"
    MERGE_CONFLICT = "merge-conflict"
    INTERRUPTED_RENAME = "interrupted-rename"
    # characters
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
    # conditions and needs
    CONDITION_KIND = "condition-kind"
    CONDITION_VALUE = "condition-value"
    UNKNOWN_CONDITION = "unknown-condition"
    UNUSED_CONDITION = "unused-condition"
    IMPLIED_ALTERNATIVE = "implied-alternative"
    INEFFECTIVE_NEED = "ineffective-need"
    UNMEETABLE_NEED = "unmeetable-need"
    OWN_SETTINGS_NEED = "own-settings-need"
    UNTESTED_NEED = "untested-need"
    ADMINISTRATOR_NEED = "administrator-need"
    # routes
    INVALID_PATH = "invalid-path"
    INVALID_METHOD = "invalid-method"
    DUPLICATE_ROUTE = "duplicate-route"
    AMBIGUOUS_ROUTE = "ambiguous-route"
    PUBLIC_EVERYTHING = "public-everything"
    PUBLIC_OVER_SECTION = "public-over-section"
    OWN_SEGMENT = "own-segment"
    OWN_BYPASS = "own-bypass"
    UNUSED_OWN = "unused-own"
    # the policy's tests
    DUPLICATE_EXPECTATION = "duplicate-expectation"
    CONTRADICTING_EXPECTATION = "contradicting-expectation"
    FAILED_EXPECTATION = "failed-expectation"
    MISSING_EXPECTATION = "missing-expectation"
    INVALID_TARGET = "invalid-target"
    FAILED_ROUTE = "failed-route"
    UNTESTED_ROUTE = "untested-route"
    LOW_COVERAGE = "low-coverage"
    UNREVIEWED_ROW = "unreviewed-row"
    # invariants that no edit may break (R26)
    ADMINISTRATOR_MISSING = "administrator-missing"
    ADMINISTRATOR_LOCKED_OUT = "administrator-locked-out"
    MEMBER_TOO_WIDE = "member-too-wide"
    ROLE_IN_USE = "role-in-use"
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
    NEEDS_DISAGREE = "needs-disagree"

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
        DiagnosticCode.UNUSED_OWN,
        DiagnosticCode.UNUSED_CONDITION,
        DiagnosticCode.IMPLIED_ALTERNATIVE,
        DiagnosticCode.ADMINISTRATOR_NEED,
        DiagnosticCode.UNREVIEWED_ROW,
    }
)

TEST_FAILURES = frozenset(
    {
        DiagnosticCode.FAILED_EXPECTATION,
        DiagnosticCode.MISSING_EXPECTATION,
        DiagnosticCode.FAILED_ROUTE,
        DiagnosticCode.UNTESTED_ROUTE,
        DiagnosticCode.UNTESTED_NEED,
    }
)
"""Failures of the policy's own tests. They prevent activation, but the policy compiles and can be inspected."""

NO_FILE = "`sidecar init NEW-FOLDER` writes a commented one to copy from"

LONGEST = 800
"""Maximum length of a message in characters. Longer ones are cut, because a line can have a megabyte."""

AT_MOST = 500
"""Maximum findings per code and file. The last finding states the number of further ones."""


class Diagnostic(msgspec.Struct, frozen=True):
    """One finding: position, message and remedy. ``line`` and ``column`` count from 1; columns are characters.

    ``places``: further positions of the same cause, at most `AT_MOST`. The message counts all of them.

    Encoded as it is: in the API, in ``/status``, by ``--json``, and through the pipe of the compile child.
    """

    severity: Severity
    code: DiagnosticCode
    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    places: tuple[Place, ...] = ()

    def __str__(self) -> str:
        warning = "warning: " if self.severity is Severity.WARNING else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.code}: {warning}{self.message}{hint}"

    def __lt__(self, other: "Diagnostic") -> bool:
        return self.position < other.position

    @property
    def position(self) -> tuple[str, int, int]:
        """Sort key of findings. Findings at the same position keep their order."""
        return (self.file, self.line, self.column)

    @property
    def is_error(self) -> bool:
        return self.severity is Severity.ERROR

    def as_error(self) -> "Diagnostic":
        """Return the same finding with severity error (`--strict`)."""
        return replace(self, severity=Severity.ERROR)


def path_of(name: str) -> str:
    """Return the displayed path of a policy file: ``policy/policy.csv``, ``model.conf``."""
    return name if name == MODEL_FILE else f"{POLICY_FOLDER}/{name}"


class DiagnosticSink:
    """Collected findings. Holds at most `AT_MOST` per code and file, and counts the rest."""

    def __init__(self) -> None:
        self._found: list[Diagnostic] = []
        self._seen: Counter[tuple[str, DiagnosticCode]] = Counter()

    def add(
        self, code: DiagnosticCode, file: str, at: tuple[int, int], message: str, hint: str, places: Places = ()
    ) -> None:
        """Add a finding. ``file`` is the bare name, ``at`` line and column, ``places`` those of the same cause."""
        self._seen[file, code] += 1
        if self._seen[file, code] <= AT_MOST:
            if places:
                message = f"{message}; the same cause: {listed(file, (at, *places))}"
            message = message if len(message) <= LONGEST else message[: LONGEST - 1] + "…"
            further = tuple(Place(*place) for place in places[:AT_MOST])
            self._found.append(Diagnostic(code.severity, code, path_of(file), *at, message, hint, further))

    def accepts(self, code: DiagnosticCode, file: str) -> bool:
        """Return False once `add` only counts. Callers then skip the computation of a hint."""
        return self._seen[file, code] < AT_MOST

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        self._found.extend(diagnostics)

    def absorb(self, other: "DiagnosticSink") -> None:
        """Add the findings of another sink, as if each had been added here."""
        before = Counter(self._seen)
        self._seen.update(other._seen)  # noqa: SLF001 - of the same class
        for diagnostic in other._found:  # noqa: SLF001
            kind = (diagnostic.file.removeprefix(f"{POLICY_FOLDER}/"), diagnostic.code)
            before[kind] += 1
            if before[kind] <= AT_MOST:
                self._found.append(diagnostic)

    @property
    def has_errors(self) -> bool:
        return any(diagnostic.is_error for diagnostic in self._found)

    def errors_in(self, *files: str) -> bool:
        paths = {path_of(file) for file in files}
        return any(diagnostic.is_error and diagnostic.file in paths for diagnostic in self._found)

    def sorted(self) -> tuple[Diagnostic, ...]:
        """Return the findings by position. Those of one file with the same text are one finding with its places."""
        ordered = merged(sorted(self._found))
        for (file, code), count in self._seen.items():
            if count > AT_MOST:
                index = max(i for i, d in enumerate(ordered) if d.file == path_of(file) and d.code is code)
                more = f"{ordered[index].message}; and {count - AT_MOST:,} more of this kind"
                ordered[index] = replace(ordered[index], message=more)
        return tuple(ordered)


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return ``did you mean "marketer"?``, or an empty text if no candidate is close."""
    nearest = closest(name, candidates)
    return f'did you mean "{nearest}"?' if nearest else ""


def suggestion(name: str, candidates: Iterable[str]) -> str:
    """Return `did_you_mean`, or otherwise the known names."""
    known = list(candidates)
    return did_you_mean(name, known) or f"{KNOWN}{', '.join(known[:20])}"


def closest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the closest candidate, or None. Ignores case, spaces and underscores."""
    folded = fold_case(name, MAX_NEAR)
    if folded is None:
        return None
    plain = "-".join(folded.replace("_", " ").split())
    by_plain = {fold_case(candidate, MAX_NEAR) or candidate: candidate for candidate in candidates}
    if plain in by_plain:
        return by_plain[plain]
    close = difflib.get_close_matches(plain[:80], by_plain, n=1, cutoff=0.6)
    return by_plain[close[0]] if close else None
