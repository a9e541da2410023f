"""Errors of the store: an outage, or a store that this sidecar must not use. Conversion of redis-py's errors.

Every error reply is an outage (R50): servers, proxies and managed services have replies of their own, and none of them
may end a running sidecar. Only exceptions of this code base are bugs.
"""

import asyncio
import re
from collections.abc import Awaitable, Mapping
from typing import Any, Final, TypeVar

from redis import exceptions

from sidecar.store.servers.remedies import NO_REDIS, remedy_of_reply, remedy_of_silence

Answer = TypeVar("Answer")


class StoreUnavailableError(Exception):
    """The store did not respond, or responded with an error.

    ``answered``: an error reply. ``refused``: an error reply after which reads are invalid too, for example of a master
    cut off from its replicas. ``cause``: state of the partition (partition_state.py), for the decision log.
    ``misconfigured``: the settings are wrong for this server. A start then fails; a running sidecar retries.
    """

    def __init__(
        self,
        message: str,
        *,
        answered: bool = False,
        refused: bool = False,
        cause: str = "",
        misconfigured: bool = False,
    ) -> None:
        super().__init__(message)
        self.answered = answered
        self.refused = refused
        self.cause = cause
        self.misconfigured = misconfigured


class StoreMismatchError(Exception):
    """Store that this sidecar must not use. The message is one sentence: problem, store, remedy."""


_READABLE: Final = re.compile(r"(?:^|-|\s)(OOM|MISCONF)\b")
"""Error codes of a store that cannot write for lack of memory or disk. Its data is valid and may be read."""

_MOVES: Final = (
    exceptions.AskError,
    exceptions.TryAgainError,
    exceptions.ClusterDownError,
    exceptions.BusyLoadingError,
)
"""Error replies of a server that is still loading, or does not have the key's slot. Later reads are valid."""

_NOT_PERMITTED: Final = re.compile(
    r"NOPERM|no permissions|unknown (?:sub)?command|can't run this command", re.IGNORECASE
)

_CODES: Final[Mapping[type[Exception], str]] = {
    exceptions.OutOfMemoryError: "OOM",
    exceptions.ReadOnlyError: "READONLY",
    exceptions.NoPermissionError: "NOPERM",
    exceptions.AuthenticationError: "WRONGPASS",
    exceptions.BusyLoadingError: "LOADING",
    exceptions.MovedError: "MOVED",
}
"""Error codes that redis-py removes from the text."""

_SHOWN: Final = 160
"""Maximum characters of a reply in an error message."""

_CLOSED: Final = "the handler is closed"
"""uvloop's RuntimeError for a send on a connection that the peer closed in the same event-loop iteration."""


def outage(error: BaseException) -> StoreUnavailableError | None:
    """Return StoreUnavailableError for an error of a server or of the network (R50); None for a bug in this code
    base."""
    if isinstance(error, exceptions.ResponseError | exceptions.AuthenticationError | exceptions.BusyLoadingError):
        code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), "")
        reply = str(error)
        return refusal(reply if code in reply else f"{code} {reply}", moves=isinstance(error, _MOVES))
    if isinstance(error, exceptions.RedisError | TimeoutError | OSError):
        return _silence(error)
    if isinstance(error, RuntimeError) and _CLOSED in str(error):
        return StoreUnavailableError("the store does not answer: it closed the connection")
    if isinstance(error, TypeError | ValueError | AttributeError | LookupError) and _is_of_redis_py(error):
        return StoreUnavailableError(f"the server is not Redis: {NO_REDIS}", answered=True, refused=True)
    return None


def _is_of_redis_py(error: BaseException) -> bool:
    """Report whether redis-py raised ``error``: the reply has an unexpected form, or is not UTF-8."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__", "")).startswith("redis.")


def refusal(reply: str, *, moves: bool = False) -> StoreUnavailableError:
    """Return StoreUnavailableError for the text of an error reply."""
    readable = moves or _READABLE.search(reply) is not None
    known = remedy_of_reply(reply)
    return StoreUnavailableError(
        f"the store returned an error: {_short(reply)}{known.suffix}",
        answered=True,
        refused=not readable,
        misconfigured=known.misconfigured,
    )


def _silence(error: BaseException) -> StoreUnavailableError:
    """Return StoreUnavailableError for a missing reply, or one that is not in the Redis protocol."""
    known = remedy_of_silence(f"{type(error).__name__} {error}")
    return StoreUnavailableError(f"the store does not answer: {known.problem}{known.suffix}")


def is_not_permitted(error: Exception) -> bool:
    """Report whether the server lacks the command or denies it, as managed services do for INFO and CONFIG."""
    reply = error.__cause__ if isinstance(error, StoreUnavailableError) else error
    if isinstance(reply, exceptions.NoPermissionError):
        return True
    return isinstance(reply, exceptions.ResponseError) and _NOT_PERMITTED.search(str(reply)) is not None


def is_elsewhere(problem: StoreUnavailableError) -> bool:
    """Report whether the same call, under the same request id, may be sent again.

    True for a closed connection, as after a restart of the server, and for a key that has moved. False after a timeout:
    its caller has waited long enough.
    """
    cause = problem.__cause__
    if isinstance(cause, exceptions.MovedError):
        return True
    if not isinstance(cause, exceptions.ConnectionError):
        return False
    refusing = exceptions.BusyLoadingError | exceptions.AuthenticationError | exceptions.MaxConnectionsError
    return not isinstance(cause, refusing) and not isinstance(cause.__cause__, TimeoutError | exceptions.TimeoutError)


def _short(text: str) -> str:
    """Return the first line without the arguments that servers repeat: they may be secret."""
    line = text.partition("\n")[0].partition(", with args beginning with")[0].partition(" with args beginning")[0]
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "…"


def outage_or_bug(error: Exception) -> Exception:
    return outage(error) or error


async def guarded_call(call: Awaitable[Answer]) -> Answer:
    """Return the reply. Raises StoreUnavailableError in an outage, and a bug unchanged.

    redis-py sends through ``asyncio.wait_for``, which before Python 3.12 loses a cancellation at the end of the send:
    the task would never end. So a task that was cancelled during the call raises CancelledError.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        answer = await call
    except Exception as error:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError from error
        raise outage_or_bug(error) from error
    if task and task.cancelling() > before:
        raise asyncio.CancelledError
    return answer


async def gather_all(*calls: Any) -> list[Any]:
    """Return the results of concurrent calls. Raises the first failure after all have ended, so that none runs on."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return list(results)
