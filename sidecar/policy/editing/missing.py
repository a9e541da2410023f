"""Edits that write the missing tests of a policy: expectations, route tests, and rows for needs."""

from collections.abc import Mapping

from sidecar.policy.compiler import Compiled
from sidecar.policy.editing.buffers import Buffer, BufferEdit
from sidecar.policy.editing.proposals import proposals


def missing_edits(compiled: Compiled, buffers: Mapping[str, Buffer]) -> list[BufferEdit]:
    """Return the edits that `policy expect --write` would make: rows as the policy decides now, each for a review."""
    if compiled.draft is None or not all(compiled.suite.whole):
        return []
    edits = []
    for proposal in proposals(compiled.draft, compiled.suite, compiled.verdict):
        buffer = buffers.get(proposal.file) or Buffer(proposal.file, "")
        edits += [buffer.insert_lines(one.line - 1, one.reviewed) for one in proposal.insertions]
    return edits
