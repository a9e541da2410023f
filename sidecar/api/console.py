"""Console: the static pages below ``/console/``, served from memory.

A page contains no data, so it needs no sign-in and no store; its scripts call the API. ``NAME.html`` is served as
``/console/NAME``, ``index.html`` as ``/console/``, every other file by its name. ``/`` and ``/console`` redirect there,
``/console/NAME/`` to ``/console/NAME``. A browser that opens any other path gets a page, other clients a problem.
"""

from collections.abc import Mapping
from hashlib import sha256
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import urlsplit

import msgspec

from sidecar.domain.hosts import is_loopback_name
from sidecar.domain.problems import Code, Problem
from sidecar.gateways.login_redirect import is_navigation
from sidecar.http.headers import RawHeaders, header_values, single_header
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
_METHOD_NOT_ALLOWED: Final = Problem(
    Code.METHOD_NOT_ALLOWED, f"method not allowed; this path accepts {_ALLOWED}", {"allow": _ALLOWED}
)
_NOT_FOUND: Final = Problem(Code.NOT_FOUND, f"path not found; the console begins at {CONSOLE}")
_NO_PAGE: Final = b"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Page not found</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="/console/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/console/style.css">
</head>
<body>
<main id="main">
<h1>Page not found</h1>
<p>The console has no page at this address. <a href="/console/">Go to the console</a></p>
</main>
</body>
</html>
"""


class _File(msgspec.Struct, frozen=True):
    tag: str
    found: RawResponse
    unchanged: RawResponse


class Console:
    """Responses of the console, prepared from the content of its files by name.

    ``public_url``: cookies and Origin checks fit this one alone. If its host is a loopback name, requests by another
    loopback name are redirected to it.
    """

    def __init__(self, files: Mapping[str, bytes], public_url: str = "") -> None:
        self._files = {_path(name): _prepared(name, content) for name, content in files.items()}
        self._pages = frozenset(_path(name) for name in files if name.endswith(".html")) - {CONSOLE}
        self._public_url = public_url
        own = _split(urlsplit(public_url).netloc)
        self._loopback = own if is_loopback_name(own[0]) else None

    @staticmethod
    def owns(path: str) -> bool:
        """Return True for ``/``, ``/console`` and all paths below it."""
        return path in {"/", "/console"} or path.startswith(CONSOLE)

    def answer(self, method: str, path: str, query: str, headers: RawHeaders) -> RawResponse:
        """Return the response to a request for an owned ``path``."""
        file = self._files.get(path)
        page = path.removesuffix("/") if path.removesuffix("/") in self._pages else CONSOLE
        if file is None and path.startswith(CONSOLE) and page == CONSOLE:
            return _not_found(method, headers)
        if method not in _METHODS:
            return secured(_METHOD_NOT_ALLOWED)
        parameters = f"?{query}" if query and query.isascii() and query.isprintable() else ""
        if self._has_other_name(single_header(headers, b"host")):
            return _redirect(f"{self._public_url}{path}{parameters}")
        if file is None:
            return _redirect(CONSOLE if page == CONSOLE else page + parameters)
        return file.unchanged if _has(headers, file.tag) else file.found

    def _has_other_name(self, host: str | None) -> bool:
        """Return True for a loopback name other than the public URL's, on its port."""
        if self._loopback is None or host is None:
            return False
        name, port = _split(host)
        return (name, port) != self._loopback and port == self._loopback[1] and is_loopback_name(name)


def _split(host: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port
    except ValueError:
        return "", None
    return parts.hostname or "", port


def _redirect(location: str) -> RawResponse:
    headers = (*SECURITY_HEADERS, ("Cache-Control", "no-store"), ("Location", location))
    return RawResponse(HTTPStatus.FOUND, headers)


def _not_found(method: str, headers: RawHeaders) -> RawResponse:
    """Return the page for a browser's navigation, the problem for any other request."""
    if method not in _METHODS or not is_navigation(headers):
        return secured(_NOT_FOUND)
    typed = (("Cache-Control", "no-store"), ("Content-Type", _TYPES[".html"]))
    return RawResponse(HTTPStatus.NOT_FOUND, (*SECURITY_HEADERS, *typed), _NO_PAGE)


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
