"""Answers to calls that come again: the same gateway, user and page, as a dashboard that polls asks them; or the same
gateway and user, and another page of a section where he has been.

An answer is remembered together with everything it followed from, and used only while each of that is the very same
object: generation, live record, key set, and the token's and session's time. So it is never older than what would be
decided anew; it is only cheaper. A call has to come twice before it takes a place.
"""

from collections.abc import Hashable, Mapping
from typing import Final

import msgspec

from sidecar.edge.checks import page_of, read_question, told_of
from sidecar.edge.lanes.shelf import Shelf
from sidecar.edge.lanes.wire import Prepared
from sidecar.edge.original import GatewayCall
from sidecar.edge.parts import Parts
from sidecar.pdp.check import Standing
from sidecar.telemetry.logbook import Told
from sidecar.vocabulary.access import Question, Target
from sidecar.vocabulary.decision import Decision

MAX_ANSWERS: Final = 16_384
"""One to two kilobytes each, most of it the token and the browser's headers."""

MAX_BYTES: Final = 36 * 1024 * 1024
"""Of calls and answers together (R29): one user, with cookies as long as a lane offers them, would fill three times as
much."""

MAX_FRAMES: Final = 8_192
MAX_FRAME_BYTES: Final = 24 * 1024 * 1024
MAX_TARGETS: Final = 32
"""Of one frame; three kilobytes and half of one for each."""

OVERHEAD: Final = 64
"""Bytes of a value beside its content, about."""


class Remembered(msgspec.Struct, frozen=True, gc=False):
    """An answer as bytes, what it stands on, and how it is counted and logged."""

    standing: Standing
    prepared: Prepared
    told: Told


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A call whose page may be another: of its ``call``, all but the header at ``hole`` decides nothing anew. What is
    answered then depends on the page's section and action alone, and stands under them."""

    call: GatewayCall
    hole: int
    answers: Mapping[Target, Remembered]

    def at(self, uri: bytes) -> GatewayCall:
        """The call that it would be with this page."""
        call, hole = self.call, self.hole
        headers = list(call.headers)
        headers[hole] = (headers[hole][0], uri)
        return GatewayCall(call.family, call.method, call.path, call.query, headers)


class AnswerMemo:
    """One a listener. What it finds has to be asked whether it still stands.

    ``key``: all that an answer can depend on. ``frame``: the same without the page, for calls that may be split so.
    """

    def __init__(self) -> None:
        self.answers: Shelf[Remembered] = Shelf(MAX_ANSWERS, MAX_BYTES)
        self.frames: Shelf[Frame] = Shelf(MAX_FRAMES, MAX_FRAME_BYTES)
        self.get = self.answers.get

    def elsewhere(self, parts: Parts, frame: Hashable, uri: bytes) -> Remembered | None:
        """What is remembered of this frame for the section and action of the page ``uri``."""
        known = self.frames.get(frame)
        if known is None:
            return None
        target = page_of(parts, known.at(uri))
        return None if target is None else known.answers.get(target)

    def used(self, key: Hashable, answer: Remembered) -> None:
        """``answer`` was found elsewhere, and given to this call. When that comes again, it is polled."""
        if self.answers.came_before(key):
            self._keep_answer(key, answer)

    def offer(
        self,
        key: Hashable,
        parts: Parts,
        call: GatewayCall,
        decision: Decision,
        prepared: Prepared,
        frame: Hashable | None = None,
    ) -> None:
        """Remember the answer just made, if it is about somebody and its call, or its frame, has come before."""
        if decision.user is None:
            return
        again = self.answers.came_before(key)
        elsewhere = frame is not None and self.frames.came_before(frame)
        answer = _remembered(parts, call, decision, prepared) if again or elsewhere else None
        if answer is None:
            return
        if again:
            self._keep_answer(key, answer)
        if elsewhere:
            self._keep_frame(frame, parts, call, answer)

    def _keep_answer(self, key: Hashable, answer: Remembered) -> None:
        self.answers.keep(key, answer, _size(key) + _weight(answer))

    def _keep_frame(self, frame: Hashable, parts: Parts, call: GatewayCall, answer: Remembered) -> None:
        """For families whose page stands in a header, once."""
        target = page_of(parts, call)
        holes = [at for at, (name, _) in enumerate(call.headers) if name == call.family.page]
        if target is None or len(holes) != 1:
            return
        known = self.frames.get(frame)
        others = {} if known is None or len(known.answers) >= MAX_TARGETS else known.answers
        answers = {**others, target: answer}
        size = 2 * _size(frame) + sum(_weight(each) + OVERHEAD for each in answers.values())
        self.frames.keep(frame, Frame(call, holes[0], answers), size)


def _remembered(parts: Parts, call: GatewayCall, decision: Decision, prepared: Prepared) -> Remembered | None:
    question = read_question(parts, call)
    standing = parts.pdp.standing(question, decision) if isinstance(question, Question) else None
    return None if standing is None else Remembered(standing, prepared, told_of(parts, call.family.label, decision))


def _weight(answer: Remembered) -> int:
    prepared = answer.prepared
    return _size((prepared.head, prepared.middle, prepared.rest)) + len(answer.told.line)


def _size(value: object) -> int:
    """Bytes of a key or an answer: text, bytes, or a tuple of such."""
    if isinstance(value, tuple):
        return OVERHEAD + sum(map(_size, value))
    return OVERHEAD + (len(value) if isinstance(value, str | bytes) else 0)
