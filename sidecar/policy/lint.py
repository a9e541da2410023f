"""Warnings about valid but suspicious policies, and the invariants of R26.

Warnings: a deny that overrides an allow, a redundant rule, a rule without effect. The invariants are constants of this
module, outside the edited files, so that no edit can change them.
"""

from collections.abc import Collection

from sidecar.domain.users import ADMINISTRATOR
from sidecar.policy.decide import decide
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.diagnostics import DiagnosticSink
from sidecar.policy.generation import Generation
from sidecar.policy.rules import ANY, FILE, Effect, Rule

MEMBER = "member"
MEMBER_SECTION = "account-settings"
NEVER_LOST = (("users", "view"), ("users", "manage"), ("policy", "view"), (MEMBER_SECTION, ANY))
"""Permissions that an Account Administrator must have. Without them, no user could correct a mistake."""


_REACHABLE = "make the role assignable in roles.toml and expect its cells in expectations.csv, or delete the rule"
_ADMINISTRATOR = f"add [roles.{ADMINISTRATOR}], with rules in policy.csv and rows in expectations.csv"
_ASSIGNABLE = "delete assignable = false, and expect its cells in expectations.csv"
_MOVED = "move the rule to an assignable role, and expect its cells in expectations.csv"


# -- warnings ----------------------------------------------------------------------------------------------------------

Key = tuple[str, str, str, Effect]
Cell = tuple[str, str, str]
"""Role, section and action."""


def warn(generation: Generation, meant: Collection[Cell], findings: DiagnosticSink) -> None:
    """Report rules that do not have their apparent effect. ``meant``: cells with an expected deny."""
    by_key: dict[Key, Rule] = {(r.role, r.section, r.action, r.effect): r for r in generation.rules}
    _warn_overrides(generation, by_key, meant, findings)
    holders = _holders(generation)
    for rule in generation.rules:
        at = (rule.line, 1)
        wider = _wider(rule, rule.effect, generation, by_key)
        denying = _wider(rule, Effect.DENY, generation, by_key) if rule.effect is Effect.ALLOW else None
        if rule.role not in holders:
            message = f'"{rule.role}" is not assignable, and no assignable role inherits it'
            findings.add(Code.UNREACHABLE_RULE, FILE, at, message, _REACHABLE)
        elif denying is not None:
            message = f'no effect: the deny of line {denying.line} ("{denying.text}") covers this allow'
            findings.add(Code.UNREACHABLE_RULE, FILE, at, message, "delete one of them")
        elif wider is not None:
            message = f'redundant: line {wider.line} ("{wider.text}") covers this line'
            findings.add(Code.SHADOWED_RULE, FILE, at, message, "delete the narrower line")
    used = {rule.role for rule in generation.rules}
    for role in generation.roles.values():
        if role.assignable and not used.intersection(generation.closures[role.id]):
            message = f'"{role.id}" has no rules and inherits none: its users are denied everything'
            findings.add(
                Code.UNUSED_ROLE,
                "roles.toml",
                _line_of_role(generation, role.id),
                message,
                "add rules to policy.csv, and expect their cells in expectations.csv",
            )


def _line_of_role(generation: Generation, role: str) -> tuple[int, int]:
    for number, line in enumerate(generation.files["roles.toml"].decode(errors="replace").split("\n"), start=1):
        if line.strip().replace('"', "").replace(" ", "") == f"[roles.{role}]":
            return (number, 1)
    return (1, 1)


def _wider(rule: Rule, effect: Effect, generation: Generation, by_key: dict[Key, Rule]) -> Rule | None:
    """Return another rule of this effect that covers all targets of ``rule``, for its role or an inherited one."""
    around = _targets_around(rule)
    for role in generation.closures[rule.role]:
        for section, action in around:
            found = by_key.get((role, section, action, effect))
            if found is not None and found is not rule:
                return found
    return None


def _targets_around(rule: Rule) -> tuple[tuple[str, str], ...]:
    """Return the rule's own target first, then the wider ones. Duplicates are possible for wildcards."""
    return ((rule.section, rule.action), (rule.section, ANY), (ANY, rule.action), (ANY, ANY))


def _holders(generation: Generation) -> set[str]:
    """Return the assignable roles and all roles that they inherit."""
    return {
        reached for role in generation.roles.values() if role.assignable for reached in generation.closures[role.id]
    }


def _warn_overrides(
    generation: Generation, by_key: dict[Key, Rule], meant: Collection[Cell], findings: DiagnosticSink
) -> None:
    """Report each deny that overrides an allow, with one example.

    Only cells of assignable roles count, because expectations cover only these. Roles that inherit are checked too.
    """
    if all(rule.effect is Effect.ALLOW for rule in generation.rules):
        return
    examples: dict[int, tuple[str, int]] = {}
    counts: dict[int, int] = {}
    for (role, section, action), ruling in generation.cells.decided():
        line = ruling.line
        if ruling.allowed or line is None or (role, section, action) in meant or not generation.roles[role].assignable:
            continue
        allow_rule = _allow_of(role, section, action, generation, by_key)
        if allow_rule is not None:
            examples.setdefault(line, (f"{role} on {section}/{action}", allow_rule.line))
            counts[line] = counts.get(line, 0) + 1
    for line, (cell, allow) in examples.items():
        more = f" and {counts[line] - 1} more" if counts[line] > 1 else ""
        message = f"this deny overrides the allow of line {allow}: {cell}{more}"
        hint = "delete one of them, or expect the deny in an exact row of expectations.csv"
        findings.add(Code.DENY_OVERRIDES_ALLOW, FILE, (line, 1), message, hint)


def _allow_of(role: str, section: str, action: str, generation: Generation, by_key: dict[Key, Rule]) -> Rule | None:
    for ancestor in generation.closures[role]:
        for s in (section, ANY):
            for a in (action, ANY):
                found = by_key.get((ancestor, s, a, Effect.ALLOW))
                if found is not None:
                    return found
    return None


# -- invariants --------------------------------------------------------------------------------------------------------


def check_invariants(generation: Generation, findings: DiagnosticSink) -> None:
    """Check R26: the administrator can always repair the policy, and `member` opens only its own settings."""
    administrator = generation.roles.get(ADMINISTRATOR)
    if administrator is None:
        message = f'the role "{ADMINISTRATOR}" is missing: users could not be managed'
        findings.add(Code.ADMINISTRATOR_MISSING, "roles.toml", (1, 1), message, _ADMINISTRATOR)
    else:
        if not administrator.assignable:
            at = _line_of_role(generation, ADMINISTRATOR)
            message = f'"{ADMINISTRATOR}" must be assignable: an account without one cannot be managed'
            findings.add(Code.ADMINISTRATOR_LOCKED_OUT, "roles.toml", at, message, _ASSIGNABLE)
        for section, action in NEVER_LOST:
            _check_administrator(generation, section, action, findings)
    for section, action in sorted(generation.allowed.get(MEMBER, ())):
        if section != MEMBER_SECTION:
            ruling = decide(generation, MEMBER, section, action)
            line = ruling.line or 1
            message = f'"{MEMBER}" is every signed-in user, for {MEMBER_SECTION} only: this allows {section}/{action}'
            findings.add(Code.MEMBER_TOO_WIDE, FILE, (line, 1), message, _MOVED)


def _check_administrator(generation: Generation, section: str, action: str, findings: DiagnosticSink) -> None:
    declared = generation.sections.get(section)
    if declared is None or (action != ANY and action not in declared.actions):
        undeclared = section if declared is None else f"{section}/{action}"
        message = f'"{ADMINISTRATOR}" must be allowed {section}/{action}, but {undeclared} is not declared'
        hint = f"declare {undeclared}, and expect it in expectations.csv"
        findings.add(Code.ADMINISTRATOR_LOCKED_OUT, "sections.toml", (1, 1), message, hint)
        return
    for name in declared.actions if action == ANY else (action,):
        ruling = decide(generation, ADMINISTRATOR, section, name)
        if not ruling.allowed:
            line = ruling.line or 1
            because = "this rule denies it" if ruling.rule else "no rule allows it"
            message = f'"{ADMINISTRATOR}" must be allowed {section}/{name}: {because}'
            edit = "delete the deny" if ruling.rule else f"add p, {ADMINISTRATOR}, {section}, {name}, allow"
            hint = f"{edit}, and expect it in expectations.csv: allow, {ADMINISTRATOR}, {section}, {name}"
            findings.add(Code.ADMINISTRATOR_LOCKED_OUT, FILE, (line, 1), message, hint)
