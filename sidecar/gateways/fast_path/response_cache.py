"""Answers to calls that come again: the same gateway, user and page, as a dashboard that polls asks them; or the same
gateway and user, and another page of a section where he has been.

An answer is remembered together with everything it followed from, and used only while each of that is the very same
object: generation, live record, key set, and the token's and session's time. So it is never older than what would be
decided anew; it is only cheaper. A call has to come twice before it takes a place.
"""

from collections.abc import Hashable, Mapping
from typing import Final

import msgspec

from sidecar.domain.access import Question, Target
from sidecar.domain.caching import SeenBefore, SizedFifoCache
from sidecar.domain.decision import Decision
from sidecar.gateways.adapter import GatewayCall
from sidecar.gateways.ext_authz import read_question, target_of, told_of
from sidecar.gateways.fast_path.request_head import Page
from sidecar.http.context import Parts
from sidecar.http.server.prepared_response import Prepared
from sidecar.pdp.decision_point import Standing
from sidecar.telemetry.check_recorder import Told

MAX_ANSWERS: Final = 16_384
"""One to two kilobytes each, most of it the token and the browser's headers."""

MAX_BYTES: Final = 36 * 1024 * 1024
"""Of calls and answers together (R29): one user, with cookies as long as a lane offers them, would fill four times as
much."""

MAX_FRAMES: Final = 8_192
MAX_FRAME_BYTES: Final = 24 * 1024 * 1024
MAX_TARGETS: Final = 32
"""Sections and actions remembered of one frame."""

OVERHEAD: Final = 64
"""Bytes of a value beside its content, about."""


class Remembered(msgspec.Struct, frozen=True, gc=False):
    """An answer as bytes, what it stands on, and how it is counted and logged."""

    standing: Standing
    prepared: Prepared
    told: Told

    def beside(self, other: "Remembered") -> bool:
        """Both follow from the same generation, keys and record."""
        mine, its = self.standing, other.standing
        return mine.generation is its.generation and mine.tokens is its.tokens and mine.record is its.record


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A call whose page may be another. All but the header at ``hole`` is the same in every call of a frame, so what is
    answered depends on the section and action of the page alone, and stands under them."""

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

    ``key``: all that an answer can depend on. ``page``: the same, in two parts, for calls that may be split so.
    """

    def __init__(self) -> None:
        self.answers: SizedFifoCache[Hashable, Remembered] = SizedFifoCache(MAX_BYTES, MAX_ANSWERS)
        self.frames: SizedFifoCache[Hashable, Frame] = SizedFifoCache(MAX_FRAME_BYTES, MAX_FRAMES)
        self.seen_before = SeenBefore(MAX_ANSWERS)
        self.frame_seen_before = SeenBefore(MAX_FRAMES)
        self.get = self.answers.get

    def elsewhere(self, parts: Parts, page: Page) -> Remembered | None:
        """What is remembered of this frame for the section and action of the page."""
        frame, uri = page
        known = self.frames.get(frame)
        if known is None:
            return None
        target = target_of(parts, known.at(uri))
        return None if target is None else known.answers.get(target)

    def note(self, key: Hashable, answer: Remembered) -> None:
        """``answer`` was found elsewhere and given to this call. The second time it is remembered for the call itself,
        which is polled."""
        if self.seen_before(key):
            self._keep_answer(key, answer)

    def offer(
        self,
        key: Hashable,
        parts: Parts,
        call: GatewayCall,
        decision: Decision,
        prepared: Prepared,
        page: Page | None = None,
    ) -> None:
        """Remember the answer just made, if it is about somebody and its call, or its frame, has come before."""
        if decision.user is None:
            return
        again = self.seen_before(key)
        if page is not None and not (decision.section and self.frame_seen_before(page[0])):
            page = None
        question = read_question(parts, call) if again or page is not None else None
        standing = parts.pdp.standing(question, decision) if isinstance(question, Question) else None
        if standing is None:
            return
        answer = Remembered(standing, prepared, told_of(parts, call.family.label, decision))
        if again:
            self._keep_answer(key, answer)
        if page is not None and (target := target_of(parts, call)) is not None:
            self._keep_frame(page, call, target, answer)

    def _keep_answer(self, key: Hashable, answer: Remembered) -> None:
        self.answers.set(key, answer, _size(key) + _weight(answer))

    def _keep_frame(self, page: Page, call: GatewayCall, target: Target, answer: Remembered) -> None:
        """If the page is where the call's family reads it."""
        frame, uri = page
        headers = tuple(call.headers)
        holes = [at for at, line in enumerate(headers) if line == (call.family.page, uri)]
        if len(holes) != 1:
            return
        known = self.frames.get(frame)
        answers = {target: answer}
        if known is not None and (others := known.answers) and answer.beside(next(iter(others.values()))):
            if len(others) >= MAX_TARGETS and target not in others:
                return
            answers = {**others, **answers}
        size = _size(frame) + _size(headers) + sum(map(_weight, answers.values()))
        self.frames.set(frame, Frame(call, holes[0], answers), size)


def _weight(answer: Remembered) -> int:
    prepared = answer.prepared
    return OVERHEAD + _size((prepared.head, prepared.middle, prepared.rest)) + len(answer.told.line)


def _size(value: object) -> int:
    """Bytes of a key or an answer: text, bytes, or a tuple of such."""
    if isinstance(value, tuple):
        return OVERHEAD + sum(map(_size, value))
    return OVERHEAD + (len(value) if isinstance(value, str | bytes) else 0)
