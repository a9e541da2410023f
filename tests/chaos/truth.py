"""Histories of each user and of the policy, and the decisions that they permit at each instant.

A change is in force between its sending and its acknowledgement at some instant. A decision may be of any state in
force
between the request's sending and its response. A decision older than a change that was acknowledged before the request
is the failure that these tests look for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

Expected = tuple[int, str]
"""Status and reason of a gateway check."""

Allowed = Mapping[str, frozenset[tuple[str, str]]]
"""Role -> sections and actions that a generation opens."""

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Period(Generic[S]):
    """``state`` began to hold somewhere between ``sent`` and ``acknowledged``."""

    sent: float
    acknowledged: float
    state: S


class History(Generic[S]):
    """States one after the other; a change is begun, then acknowledged or taken back."""

    def __init__(self, state: S) -> None:
        self._periods = [Period(float("-inf"), float("-inf"), state)]

    @property
    def now(self) -> S:
        return self._periods[-1].state

    @property
    def open(self) -> bool:
        """The last change is not acknowledged."""
        return self._periods[-1].acknowledged == float("inf")

    def tail(self) -> list[Period[S]]:
        """The last states, for a message."""
        return self._periods[-3:]

    def begin(self, at: float, state: S) -> None:
        self._periods.append(Period(at, float("inf"), state))

    def acknowledge(self, at: float) -> None:
        self._periods[-1] = replace(self._periods[-1], acknowledged=at)

    def take_back(self) -> None:
        """It was refused, so it never held."""
        self._periods.pop()

    def between(self, sent: float, received: float) -> list[S]:
        """The states that a question sent and answered at these instants may have met."""
        met = []
        for period, following in zip(self._periods, [*self._periods[1:], None], strict=True):
            superseded = following is not None and following.acknowledged < sent
            if period.sent <= received and not superseded:
                met.append(period.state)
        return met


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, the epoch under which it was issued, and its number: sessions are not told apart otherwise."""

    text: str
    epoch: int
    number: int


@dataclass(frozen=True, slots=True)
class UserState:
    """Numbers of tokens: ``ended`` of ended sessions, ``proven`` of sessions with a proof of a second factor."""

    role: str
    status: str = "active"
    epoch: int = 1
    ended: frozenset[int] = field(default_factory=frozenset)
    proven: frozenset[int] = field(default_factory=frozenset)

    def answers(self, token: Token | None, policy: "PolicyState", section: str, action: str) -> Expected:
        """To a question with this token, or with none about the user itself (AuthZEN): nothing is proven then."""
        if self.status == "removed":
            return (401, "unknown_user")
        if self.status == "suspended":
            return (401, "suspended")
        if token is not None and token.epoch < self.epoch:
            return (401, "revoked")
        if token is not None and token.number in self.ended:
            return (401, "session_ended")
        if (section, action) not in policy.allowed[self.role]:
            return (403, "no_rule")
        if (self.role, section, action) in policy.needs and (token is None or token.number not in self.proven):
            return (401, "step_up_required")
        return (200, "allowed")


@dataclass(frozen=True, slots=True)
class PolicyState:
    """Generation, its open sections, and the cells that need a second factor."""

    generation: str
    allowed: Allowed = field(repr=False)
    needs: frozenset[tuple[str, str, str]] = frozenset()


def rightly(
    users: History[UserState],
    policies: History[PolicyState],
    token: Token | None,
    spot: tuple[str, str],
    when: tuple[float, float],
) -> dict[str, set[Expected]]:
    """Generation -> every right answer by it."""
    return {
        policy.generation: {state.answers(token, policy, *spot) for state in users.between(*when)}
        for policy in policies.between(*when)
    }
