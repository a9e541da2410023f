"""``sidecar policy``: checks, tests and queries the policy files. Uses the files alone, without store or server.

A verb's module is loaded when the verb is called; none of them loads a web server or Redis.
"""

import click

from sidecar.cli.lazy_group import lazy

VERBS: dict[str, tuple[str, str]] = {
    "check": (
        "sidecar.cli.policy.check:check",
        "List all problems of the files; silent without one.",
    ),
    "test": (
        "sidecar.cli.policy.test:test",
        "Run the expectations and routes, and measure their coverage.",
    ),
    "expect": ("sidecar.cli.policy.expect:expect", "Print the tests that are missing, or write them for a review."),
    "matrix": ("sidecar.cli.policy.matrix:matrix", "Print a grid of all decisions, roles across."),
    "can": ("sidecar.cli.policy.query:can", "Decide for one role, section and action. Exit status 0 yes, 1 no."),
    "explain": ("sidecar.cli.policy.explain:explain", "Explain a decision, and the changes that would reverse it."),
    "diff": ("sidecar.cli.policy.diff:diff", "List every cell and route that differs, opening ones first."),
    "fmt": ("sidecar.cli.policy.fmt_watch:fmt", "Align the CSV files."),
    "rename": (
        "sidecar.cli.policy.rename:rename",
        "Rename a role, section or action in all files at once.",
    ),
    "watch": ("sidecar.cli.policy.fmt_watch:watch", "Check the files after every save."),
    "lsp": ("sidecar.cli.policy.lsp:lsp", "Serve an editor: diagnostics, fixes, completion, rename."),
    "status": ("sidecar.cli.policy.status:status", "Print the policy of every live sidecar."),
    "apply": ("sidecar.cli.policy.apply:apply", "Apply the files to all sidecars at one moment."),
    "history": ("sidecar.cli.policy.history:history", "List the generations that were applied to the store."),
    "export": ("sidecar.cli.policy.export:export", "Write the files of an earlier generation into a directory."),
    "keygen": ("sidecar.cli.policy.keygen:keygen", "Make a key that signs policies."),
    "sign": ("sidecar.cli.policy.keygen:sign", "Sign the files with a key: policy.sig beside them."),
    "usage": ("sidecar.cli.policy.usage:usage", "Report rights that no user needed, by decision logs."),
    "replay": ("sidecar.cli.policy.replay:replay", "Replay a decision log: which decisions would differ?"),
}
"""Name → (``module:name``, help line)."""


@click.group(cls=lazy(VERBS))
def policy() -> None:
    """Check, test and query the policy files.

    The files are those that `serve` would read: --policy-dir and --model, else SIDECAR_POLICY_DIR and SIDECAR_MODEL,
    else ./policy and ./model.conf; if neither of these exists, the packaged ones.
    """
