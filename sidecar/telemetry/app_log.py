"""Application log: JSON lines on stderr, plain text on a terminal. Entries have an event and named fields.

Fields with secret-like names are masked. Requests, headers and bodies are never logged.
"""

import logging
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

from sidecar.telemetry.tracing import ids

SECRET_WORDS = ("token", "password", "secret", "authorization", "cookie", "pepper", "key", "link", "url")
"""Parts of masked field names. ``url`` is listed because store URLs and invitation links contain secrets."""

MASK = "•••"

_threshold = {"level": logging.INFO}


def configure(level: str, form: str) -> None:
    """Configure logging.

    ``level``: debug, info, warning, error. ``form``: json or text. The composition root calls it once.
    """
    number = _threshold["level"] = getattr(logging, level.upper())
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            mask,
            add_trace,
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Limit libraries that use logging (asyncio, aiohttp) to errors: their messages may contain a request.
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr, format="%(message)s", force=True)
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)


def debugging() -> bool:
    """Return True at debug level, to skip values that are expensive to compute."""
    return _threshold["level"] <= logging.DEBUG


@contextmanager
def silent() -> Iterator[None]:
    """Suppress log entries below critical inside the block, for verbs that print their result."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


def logger(component: str) -> structlog.typing.FilteringBoundLogger:
    """Return a lazy logger. It binds at the first entry, so modules may create it before ``configure`` runs."""
    lazy: structlog.typing.FilteringBoundLogger = structlog.get_logger(kind="app", component=component)
    return lazy


def add_trace(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the ids of the span in which the entry is written."""
    event.update(ids())
    return event


def mask(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask all fields with secret-like names, as a second line of defence."""
    for name in event:
        if any(word in name.lower() for word in SECRET_WORDS):
            event[name] = MASK
    return event
