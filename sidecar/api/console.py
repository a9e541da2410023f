"""Console: the static pages below ``/console/``, served from memory.

A page contains no data, so it needs no sign-in and no store; its scripts call the API. ``NAME.html`` is served as
``/console/NAME``, ``index.html`` as ``/console/``, every other file by its name. ``/`` and ``/console`` redirect there.
"""

from collections.abc import Mapping
from hashlib import sha256
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Final

import msgspec

from sidecar.domain.problems import Code, Problem
from sidecar.http.headers import RawHeaders, header_values
from sidecar.http.login_page import CONSOLE
from sidecar.http.problems import problem_answer
from sidecar.http.response import RawResponse

LABEL: Final = "/console/{file}"
"""Label of all console requests in the metrics."""

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
SECURITY_HEADERS: Final = (
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
"""Headers of every response below ``/console/``, errors included."""

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
}
_METHODS: Final = frozenset({"GET", "HEAD"})
_ALLOWED: Final = "GET, HEAD"
_REDIRECT: Final = RawResponse(
    HTTPStatus.FOUND, (*SECURITY_HEADERS, ("Cache-Control", "no-store"), ("Location", CONSOLE))
)
_METHOD_NOT_ALLOWED: Final = Problem(
    Code.METHOD_NOT_ALLOWED, f"method not allowed; this path accepts {_ALLOWED}", {"allow": _ALLOWED}
)
_NOT_FOUND: Final = Problem(Code.NOT_FOUND, f"path not found; the console begins at {CONSOLE}")


class _File(msgspec.Struct, frozen=True):
    tag: str
    found: RawResponse
    unchanged: RawResponse


class Console:
    """Responses of the console, prepared from the content of its files by name."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = {_path(name): _prepared(name, content) for name, content in files.items()}

    @staticmethod
    def owns(path: str) -> bool:
        """Return True for ``/``, ``/console`` and all paths below it."""
        return path in {"/", "/console"} or path.startswith(CONSOLE)

    def answer(self, method: str, path: str, headers: RawHeaders) -> RawResponse:
        """Return the response to a request for an owned ``path``, without query."""
        file = self._files.get(path)
        if file is None and path.startswith(CONSOLE):
            return secured(_NOT_FOUND)
        if method not in _METHODS:
            return secured(_METHOD_NOT_ALLOWED)
        if file is None:
            return _REDIRECT
        return file.unchanged if _has(headers, file.tag) else file.found


def secured(problem: Problem) -> RawResponse:
    """Encode a problem with the console's headers."""
    answer = problem_answer(problem)
    return RawResponse(answer.status, (*answer.headers, *SECURITY_HEADERS), answer.body)


def _path(name: str) -> str:
    if name == "index.html":
        return CONSOLE
    return CONSOLE + name.removesuffix(".html")


def _prepared(name: str, content: bytes) -> _File:
    tag = f'"{sha256(content).hexdigest()[:32]}"'
    common = (*SECURITY_HEADERS, ("Cache-Control", "no-cache"), ("ETag", tag))
    typed = (*common, ("Content-Type", _TYPES[PurePosixPath(name).suffix]))
    return _File(tag, RawResponse(HTTPStatus.OK, typed, content), RawResponse(HTTPStatus.NOT_MODIFIED, common))


def _has(headers: RawHeaders, tag: str) -> bool:
    """Return True if ``If-None-Match`` contains the tag (RFC 9110 section 13.1.2). A quoted tag contains no quotes."""
    wanted = tag.encode("ascii")
    return any(wanted in value or value.strip() == b"*" for value in header_values(headers, b"if-none-match"))
