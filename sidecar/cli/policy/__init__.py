"""``sidecar policy``: checks, tests and queries the policy files. Uses the files alone, without store or server.

A verb's module is loaded when the verb is called; none of them loads a web server or Redis.
"""

import click

from sidecar.cli.lazy_group import lazy

VERBS: dict[str, tuple[str, str]] = {
    "check": (
        "sidecar.cli.policy.check:check",
        "Everything that is wrong with the files; silent when nothing is.",
    ),
    "test": (
        "sidecar.cli.policy.test:test",
        "Run the expectations and routes, with their coverage.",
    ),
    "matrix": ("sidecar.cli.policy.query:matrix", "Who may do what: every role, section and action."),
    "can": ("sidecar.cli.policy.query:can", "May a role do this? Exit status 0 yes, 1 no."),
    "explain": ("sidecar.cli.policy.explain:explain", "Why an answer is what it is, and what would change it."),
    "diff": ("sidecar.cli.policy.diff:diff", "Every cell and route that differs, what opens first."),
    "fmt": ("sidecar.cli.policy.fmt_watch:fmt", "Align the CSV files."),
    "watch": ("sidecar.cli.policy.fmt_watch:watch", "Check the files after every save."),
    "status": ("sidecar.cli.policy.status:status", "Which policy every live sidecar serves."),
    "replay": ("sidecar.cli.policy.replay:replay", "Answer a decision log again: which answers would differ?"),
}
"""Name → (``module:name``, help line)."""


@click.group(cls=lazy(VERBS))
def policy() -> None:
    """Check, test and question the policy files.

    The files are those that `serve` would read: --policy-dir and --model, else SIDECAR_POLICY_DIR and SIDECAR_MODEL,
    else ./policy and ./model.conf; where neither of these exists, the packaged ones.
    """
