"""Checks of CSV fields against the declared names. An undeclared name is an error, never a decision.

Names are compared whole and exactly. Hints suggest the probable intention: other letter case, a look-alike of another
script, swapped columns.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sidecar.domain.text import fold_case
from sidecar.policy.declarations import Vocabulary
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import DiagnosticSink, closest, did_you_mean
from sidecar.policy.places import KNOWN
from sidecar.policy.text.confusables import as_ascii, described
from sidecar.policy.text.csv_reader import NAME, CsvRecord

ANY = "*"
"""Wildcard for all sections, or for all actions of a section."""


@dataclass(frozen=True, slots=True)
class NameChecker:
    """Checker for the fields of one file. An empty field is already reported and is skipped."""

    vocabulary: Vocabulary
    file: str
    findings: DiagnosticSink

    def form(self, record: CsvRecord, form: str, count: int) -> bool:
        """Return whether the number of fields is right.

        Excess fields are reported at the first of them, missing ones at the line's start.
        """
        if len(record.fields) == count:
            return True
        at = record.at(count) if len(record.fields) > count else record.at(0)
        message = f"{len(record.fields)} field{'s' if len(record.fields) > 1 else ''} instead of {count}"
        self.findings.add(Code.FIELD_COUNT, self.file, at, message, f"the form is: {form}")
        return False

    def effect(self, record: CsvRecord, index: int) -> bool:
        effect = record.fields[index]
        if effect in ("allow", "deny"):
            return True
        if effect and not self.confusable(effect, record.at(index), "an effect", ("allow", "deny")):
            hint = did_you_mean(effect, ("allow", "deny")) or "write allow or deny"
            message = f"{quoted(effect)} is neither allow nor deny: other readers would ignore the line"
            self.findings.add(Code.INVALID_EFFECT, self.file, record.at(index), message, hint)
        return False

    def role(self, record: CsvRecord, index: int) -> bool:
        name, roles = record.fields[index], self.vocabulary.roles
        if roles is None or name in roles:
            return bool(name)
        if "*" in as_ascii(name):
            of_rules = "give the rule to a role that the others inherit"
            hint = of_rules if self.file == "policy.csv" else "write a line for each role"
            self._star(name, record.at(index), " is not a role: a line names one role", hint)
        elif "@" in name or name.startswith("usr_"):
            hint = "assign roles to users with `sidecar user set-role`"
            message = f"{quoted(name)} is a user, not a role"
            self.findings.add(Code.UNKNOWN_ROLE, self.file, record.at(index), message, hint)
        else:
            self.unknown(Code.UNKNOWN_ROLE, name, record.at(index), "a role", roles)
        return False

    def target(self, record: CsvRecord, index: int, *, wildcards: bool) -> bool:
        """Return whether section and action, in two fields from ``index``, are valid. Report if not."""
        section, action = record.fields[index : index + 2]
        if (section, action) in self.vocabulary.pairs:
            return True
        sections = self.vocabulary.sections
        if sections is None or section in self.vocabulary.unreadable:
            return bool(section and action)
        good = self._wildcard(record, index, allowed=wildcards)
        if good and section != ANY and section not in sections:
            self.unknown(Code.UNKNOWN_SECTION, section, record.at(index), "a section", sections)
            good = False
        if section in sections:
            where, actions = f'an action of "{section}"', sections[section].actions
        else:
            where, actions = "an action of any section", tuple(sorted(self.vocabulary.actions))
        if not self._wildcard(record, index + 1, allowed=wildcards):
            return False
        if action == ANY or action in actions:
            return good
        self.unknown(Code.UNKNOWN_ACTION, action, record.at(index + 1), where, actions)
        return False

    def _wildcard(self, record: CsvRecord, index: int, *, allowed: bool) -> bool:
        """Return whether the field has no misplaced ``*``. Report it otherwise."""
        name = record.fields[index]
        if not allowed:
            return self.no_star(name, record.at(index))
        if name == ANY or "*" not in as_ascii(name):
            return True
        self._star(name, record.at(index), ": * must be the whole field", "write * for all, or one name")
        return False

    def no_star(self, name: str, at: tuple[int, int]) -> bool:
        """Return whether a name in a test has no ``*``: a route test, and a row with ``without``."""
        if "*" not in as_ascii(name):
            return True
        self._star(name, at, ": * is not a name", "name one section and one action here")
        return False

    def _star(self, name: str, at: tuple[int, int], problem: str, hint: str) -> None:
        """Report a misplaced ``*``, or a look-alike of it."""
        if "*" in name:
            self.findings.add(Code.MISPLACED_WILDCARD, self.file, at, f"{quoted(name)}{problem}", hint)
        else:
            sign = next(character for character in name if as_ascii(character) == ANY)
            message = f"{quoted(name)}: {described(sign)} only looks like *"
            self.findings.add(Code.LOOKALIKE_CHARACTER, self.file, at, message, hint)

    def confusable(self, name: str, at: tuple[int, int], expected: str, known: Collection[str]) -> bool:
        """Report a name that only looks like one of ``known``; such a mistake is invisible. Return True if so."""
        strange = next((character for character in name if not character.isascii()), None)
        nearest = None if strange is None else closest(as_ascii(name), known)
        if strange is None or nearest is None:
            return False
        message = f"{quoted(name)} is not {expected}: {described(strange)} only looks like the right letter"
        self.findings.add(Code.LOOKALIKE_CHARACTER, self.file, at, message, f'did you mean "{nearest}"?')
        return True

    def unknown(self, code: Code, name: str, at: tuple[int, int], expected: str, known: Collection[str]) -> None:
        """Report a name that is not in ``known``, with the closest known name."""
        if not name:
            return
        if not self.findings.accepts(code, self.file):
            self.findings.add(code, self.file, at, "", "")  # counted only
            return
        nearest = closest(as_ascii(name), known)
        if nearest is not None and code is not Code.UNKNOWN_CONDITION and not NAME.fullmatch(nearest):
            return  # the declaration is invalid, and already reported
        if self.confusable(name, at, expected, known):
            return
        message = f"{quoted(name)} is not {expected}"
        if nearest is not None and name != nearest and fold_case(name, len(nearest)) == nearest:
            message += ": names are lower case"
        self.findings.add(code, self.file, at, message, did_you_mean(name, known) or self._elsewhere(code, name, known))

    def _elsewhere(self, code: Code, name: str, known: Iterable[str]) -> str:
        """Return a hint for swapped columns, or otherwise the known names."""
        for other, expected, names in (
            (Code.UNKNOWN_SECTION, "a section", self.vocabulary.sections or ()),
            (Code.UNKNOWN_ROLE, "a role", self.vocabulary.roles or ()),
            (Code.UNKNOWN_ACTION, "an action", self.vocabulary.actions),
        ):
            if other is not code and name in names:
                return f"it is {expected}: are the columns in order?"
        shown = list(known)
        return KNOWN + ", ".join(shown[:12]) + (", …" if len(shown) > 12 else "")


def quoted(text: str) -> str:
    """Return the name in quotes, cut to 80 characters."""
    return f'"{text}"' if len(text) <= 80 else f'"{text[:77]}…"'
