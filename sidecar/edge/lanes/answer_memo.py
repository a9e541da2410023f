"""Answers to calls that come again: the same gateway, user and page, as a dashboard that polls asks them.

An answer is remembered together with everything it followed from, and used only while each of that is the very same
object: generation, live record, key set, and the token's and session's time. So it is never older than what would be
decided anew; it is only cheaper. A call has to come twice before it takes a place.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

import msgspec

from sidecar.edge.checks import read_question, told_of
from sidecar.edge.lanes.wire import Prepared
from sidecar.edge.original import GatewayCall
from sidecar.edge.parts import Parts
from sidecar.pdp.check import Standing
from sidecar.telemetry.logbook import Told
from sidecar.vocabulary.access import Question
from sidecar.vocabulary.decision import Decision
from sidecar.vocabulary.recent import Recent

MAX_ANSWERS: Final = 16_384
"""One to two kilobytes each, most of it the token and the browser's headers."""

MAX_BYTES: Final = 48 * 1024 * 1024
"""Of calls and answers together (R29): one user, with cookies as long as a lane offers them, would fill three times as
much."""

OVERHEAD: Final = 64
"""Bytes of a value beside its content, about."""


class Remembered(msgspec.Struct, frozen=True, gc=False):
    """An answer as bytes, what it stands on, and how it is counted and logged. ``size``: bytes, with its call."""

    standing: Standing
    prepared: Prepared
    told: Told
    size: int


class AnswerMemo:
    """One a listener. ``get(key)``: what is remembered, or None; it has to be asked whether it still stands."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Hashable, Remembered] = OrderedDict()
        self._bytes = 0
        self._once: Recent[int, None] = Recent(MAX_ANSWERS)
        self.get = self._answers.get

    def offer(self, key: Hashable, parts: Parts, call: GatewayCall, decision: Decision, prepared: Prepared) -> None:
        """Remember the answer just made, if it is about somebody and its call has come before."""
        if decision.user is None or not self._came_before(key):
            return
        question = read_question(parts, call)
        standing = parts.pdp.standing(question, decision) if isinstance(question, Question) else None
        if standing is not None:
            size = _size(key) + _size((prepared.head, prepared.middle, prepared.rest))
            told = told_of(parts, call.family.label, decision)
            self._keep(key, Remembered(standing, prepared, told, size + len(told.line)))

    def _keep(self, key: Hashable, answer: Remembered) -> None:
        before = self._answers.pop(key, None)
        self._bytes += answer.size - (before.size if before is not None else 0)
        self._answers[key] = answer
        while self._bytes > MAX_BYTES or len(self._answers) > MAX_ANSWERS:
            self._bytes -= self._answers.popitem(last=False)[1].size

    def _came_before(self, key: Hashable) -> bool:
        mark = hash(key)
        if mark in self._once:
            return True
        self._once.put(mark, None)
        return False


def _size(value: object) -> int:
    """Bytes of a key or an answer: text, bytes, or a tuple of such."""
    if isinstance(value, tuple):
        return OVERHEAD + sum(map(_size, value))
    return OVERHEAD + (len(value) if isinstance(value, str | bytes) else 0)
