"""The application log: JSON lines on stderr, plain text on a terminal. Events and named fields, never a request.

A secret cannot be logged by habit: fields whose names sound like one are masked, and nothing logs headers or bodies.
"""

import logging
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

SECRET_WORDS = ("token", "password", "secret", "authorization", "cookie", "pepper", "key", "link", "url")
"""Parts of field names. ``url`` is here because store URLs hold passwords and invitation links hold secrets."""

MASK = "•••"

_threshold = {"level": logging.INFO}


def configure(level: str, form: str) -> None:
    """``level``: debug, info, warning, error. ``form``: json or text. Once, by the composition root."""
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
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries that speak through logging (asyncio, aiohttp) say little, and what they say must not hold a request.
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr, format="%(message)s", force=True)
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)


def debugging() -> bool:
    """Return True at debug level: for what is dear to gather."""
    return _threshold["level"] <= logging.DEBUG


@contextmanager
def silent() -> Iterator[None]:
    """Nothing below critical is logged meanwhile: for a verb whose output is the answer."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


def logger(room: str) -> structlog.typing.FilteringBoundLogger:
    """A proxy that is bound at the first word, so that a module may ask for it before ``configure`` was called."""
    lazy: structlog.typing.FilteringBoundLogger = structlog.get_logger(kind="app", room=room)
    return lazy


def mask(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Belt and braces: whatever a caller names like a secret is not written."""
    for name in event:
        if any(word in name.lower() for word in SECRET_WORDS):
            event[name] = MASK
    return event
