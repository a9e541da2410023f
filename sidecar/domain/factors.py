"""Second factors of a user: TOTP devices and passkeys. The kind of a factor is the first part of its id."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

FactorId = NewType("FactorId", str)
"""``totp_`` or ``passkey_``, and 16 characters of ``[a-z2-7]``."""


class FactorKind(StrEnum):
    """Kind of a second factor that a user enrols."""

    TOTP = "totp"
    PASSKEY = "passkey"


@dataclass(frozen=True, slots=True)
class Factor:
    """Confirmed factor, without its secret. Times in Unix seconds.

    ``counts_at``: from this instant on the factor meets needs (R37).
    """

    id: FactorId
    name: str
    created_at: int
    counts_at: int
    last_used_at: int | None = None

    @property
    def kind(self) -> FactorKind:
        return kind_of(self.id)


def kind_of(factor: FactorId) -> FactorKind:
    """Return the kind that the id contains."""
    return FactorKind(factor.partition("_")[0])
