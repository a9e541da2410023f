"""Answers to calls that come again: the same gateway, user and page, as a dashboard that polls asks them.

An answer is remembered together with everything it followed from, and used only while each of that is the very same
object: generation, live record, key set, and the token's and session's time. So it is never older than what would be
decided anew; it is only cheaper. A call has to come twice before it takes a place.
"""

from collections.abc import Hashable
from typing import Final

import msgspec

from sidecar.edge.checks import read_question
from sidecar.edge.lanes.wire import Prepared
from sidecar.edge.original import GatewayCall
from sidecar.edge.parts import Parts
from sidecar.pdp.check import Standing
from sidecar.vocabulary.access import Question
from sidecar.vocabulary.decision import Decision
from sidecar.vocabulary.recent import Recent

MAX_ANSWERS: Final = 16_384
"""About a kilobyte each, most of it the token. A lane offers no long call, so that all of them together are bounded in
bytes as well (R29)."""


class Remembered(msgspec.Struct, frozen=True, gc=False):
    """An answer as bytes, what it stands on, and under which name it is counted."""

    standing: Standing
    prepared: Prepared
    label: str


class AnswerMemo:
    """One a listener. ``get(key)``: what is remembered, or None; it has to be asked whether it still stands."""

    def __init__(self) -> None:
        self._answers: Recent[Hashable, Remembered] = Recent(MAX_ANSWERS)
        self._once: Recent[int, None] = Recent(MAX_ANSWERS)
        self.get = self._answers.get

    def offer(self, key: Hashable, parts: Parts, call: GatewayCall, decision: Decision, prepared: Prepared) -> None:
        """Remember the answer just made, if it is about somebody and its call has come before."""
        if decision.user is None or not self._came_before(key):
            return
        question = read_question(parts, call)
        standing = parts.pdp.standing(question, decision) if isinstance(question, Question) else None
        if standing is not None:
            self._answers.put(key, Remembered(standing, prepared, call.family.label))

    def _came_before(self, key: Hashable) -> bool:
        mark = hash(key)
        if mark in self._once:
            return True
        self._once.put(mark, None)
        return False
