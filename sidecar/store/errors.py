"""What goes wrong with the store itself: an outage, or a store that must not be used. Everything else is a bug."""

import re
from typing import Final

from redis import exceptions


class StoreUnavailable(Exception):
    """The store did not answer, or may not answer now: out, slow, read-only, loading, without its replicas, full.

    ``refused``: it answered that it may not write, as a master cut off from its replicas does. Its reads are no truth.
    ``cause``: the state of the partition (partition_state.py), for the decision log; empty when it is only out.
    """

    def __init__(self, message: str, *, refused: bool = False, cause: str = "") -> None:
        super().__init__(message)
        self.refused = refused
        self.cause = cause


class StoreRefused(Exception):
    """This store must not be used by this sidecar. One sentence: what, where, what now."""


_OUTAGES: Final = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.AuthenticationError,
    exceptions.NoPermissionError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.MasterDownError,
    exceptions.ClusterError,
    exceptions.ClusterDownError,
    exceptions.AskError,  # and MovedError: the slot is somewhere else, or on its way
    exceptions.TryAgainError,
    TimeoutError,
    OSError,
)
_OUTAGE_CODES: Final = re.compile(
    r"(?:^|-|\s)(OOM|READONLY|NOREPLICAS|MISCONF|LOADING|BUSY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOAUTH|NOPERM|"
    r"WRONGPASS|UNBLOCKED|DENIED)\b"
)

_CLOSED: Final = "the handler is closed"
"""uvloop's RuntimeError for a send on a connection that the other side has ended in the same turn of the loop."""


def outage(error: BaseException) -> StoreUnavailable | None:
    """What ``error`` means when it means that the store cannot answer now; None for a bug of ours."""
    if isinstance(error, _OUTAGES):
        refused = isinstance(error, exceptions.ReadOnlyError)
        return StoreUnavailable(f"the store does not answer: {type(error).__name__}: {error}", refused=refused)
    if isinstance(error, exceptions.ResponseError) and (code := _OUTAGE_CODES.search(str(error))):
        return StoreUnavailable(f"the store refuses: {code[1]}", refused=code[1] in {"NOREPLICAS", "READONLY"})
    if isinstance(error, RuntimeError) and _CLOSED in str(error):
        return StoreUnavailable("the store does not answer: it ended the connection")
    return None


def outage_or_bug(error: Exception) -> Exception:
    return outage(error) or error
