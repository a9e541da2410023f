"""The table: every row runs through every gateway. This module has the permissions of each role; attacks are in
hostile_*.py.
"""

from collections.abc import Iterator

from tests.expected_cells import expected_cells
from tests.gateways.rig.hostile_bytes import wire
from tests.gateways.rig.hostile_headers import spoofed
from tests.gateways.rig.hostile_paths import paths
from tests.gateways.rig.hostile_upgrades import upgrades
from tests.gateways.rig.outcomes import (
    ANONYMOUS,
    BAD,
    BILLING,
    CROSS_SITE,
    MARKETER,
    MEDIA,
    NOT_THEIRS,
    REFUSED,
    UNMATCHED,
    UPLOAD,
)
from tests.gateways.rig.rows import ORIGIN, Allow, Deny, Outcome, Public, Row, read_csv, request, websocket


def matrix() -> Iterator[Row]:
    """The policy's own expectations, each cell as a request that needs it."""
    ways: dict[str, tuple[str, str]] = {}
    for target, method, path in read_csv("routes.csv"):
        ways.setdefault(target, (method, path))
    for (role, section, action), allowed in expected_cells().items():
        method, path = ways[f"{section}/{action}"]
        outcome = Allow(role, section, action) if allowed else NOT_THEIRS
        yield Row(f"{role} {method} {section}/{action}", request(path, method=method, token=role), outcome)


def anonymous() -> Iterator[Row]:
    html = "Accept: text/html,application/xhtml+xml;q=0.9"
    to_login = Deny(302, "missing_token")
    yield Row("anonymous GET", request(BILLING), ANONYMOUS)
    yield Row("anonymous POST", request(BILLING, method="POST", body="a=1"), ANONYMOUS)
    yield Row("anonymous at no section", request("/nowhere"), ANONYMOUS)
    yield Row("anonymous at the root", request("/"), ANONYMOUS)
    yield Row("a browser opens a page", request(BILLING + "?year=2026", html), to_login)
    yield Row(
        "a browser opens a page, told by fetch metadata",
        request(BILLING, html, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"),
        to_login,
    )
    yield Row("a script asks for HTML", request(BILLING, html, "Sec-Fetch-Mode: cors"), ANONYMOUS)
    yield Row("a form is sent", request(BILLING, html, method="POST", body="a=1"), ANONYMOUS)
    yield Row("a browser in the wrong section", request(BILLING, html, cookie="marketer"), NOT_THEIRS)
    yield Row("public page", request("/login"), Public())
    yield Row("public asset", request("/assets/app.js?v=3"), Public())
    yield Row("public asset with a dead token", request("/assets/app.js", token="revoked"), Public())
    yield Row("public path, other method", request("/login", method="POST", body="a=1"), ANONYMOUS)
    yield Row("public prefix is no prefix", request("/assetsx/app.js"), ANONYMOUS)
    yield Row("under a public page", request("/login/x"), ANONYMOUS)


REASONS = {
    "suspended": "suspended",
    "removed": "unknown_user",
    "revoked": "revoked",
    "ended": "session_ended",
    "expired": "expired",
    "not-yet": "not_yet_valid",
    "wrong-issuer": "wrong_issuer",
    "wrong-audience": "wrong_audience",
    "unknown-key": "unknown_key",
    "flipped": "invalid_signature",
    "unsigned": "malformed_token",
    "garbage": "malformed_token",
}
MALFORMED = Deny(401, "malformed_token")


def tokens() -> Iterator[Row]:
    for token, reason in REASONS.items():
        yield Row(f"token {token}", request(MEDIA, token=token), Deny(401, reason))
        yield Row(f"cookie {token}", request(MEDIA, cookie=token), Deny(401, reason))
    yield Row("nine kilobytes of token", request(MEDIA, token="nine-kilobytes"), MARKETER)
    yield Row("nine kilobytes of garbage", request(MEDIA, token="nine-kilobytes-of-garbage"), MALFORMED)
    yield Row("nine kilobytes of cookies", request(MEDIA, "Cookie: a=" + "x" * 9216, token="marketer"), MARKETER)
    yield Row("token in the query", request(MEDIA + "?access_token=<<marketer>>"), ANONYMOUS)
    yield Row("scheme in lower case", request(MEDIA, "Authorization: bearer <<marketer>>"), MARKETER)
    yield Row("empty bearer", request(MEDIA, "Authorization: Bearer "), ANONYMOUS)
    basic = "Authorization: Basic YWRhOnBhc3N3b3Jk"
    yield Row("another scheme", request(MEDIA, basic), ANONYMOUS)
    yield Row("another scheme beside a cookie", request(MEDIA, basic, cookie="marketer"), ANONYMOUS)
    yield Row("empty Authorization beside a cookie", request(MEDIA, "Authorization:", cookie="marketer"), ANONYMOUS)
    good, bad = "Authorization: Bearer <<marketer>>", "Authorization: Bearer <<garbage>>"
    but: dict[str, Outcome] = {"nginx": REFUSED, "envoy": MALFORMED}  # Envoy joins the two with a comma
    yield Row("two tokens", request(MEDIA, good, good), BAD, but)
    yield Row("a good token and a bad one", request(MEDIA, good, bad), BAD, but)
    yield Row("a bad token and a good one", request(MEDIA, bad, good), BAD, but)
    yield Row("two tokens in one line", request(MEDIA, f"{good}, Bearer <<marketer>>"), MALFORMED)


def cookies() -> Iterator[Row]:
    def row(name: str, cookie: str, expect: Outcome, *headers: str, **but: Outcome) -> Row:
        return Row(f"cookie {name}", request(MEDIA, f"Cookie: {cookie}", *headers), expect, but)

    mine = "__Host-sidecar=<<marketer>>"
    yield row("alone", mine, MARKETER)
    yield row("among others", f"theme=dark; {mine}; lang=de", MARKETER)
    yield row("first", f"{mine}; lang=de", MARKETER)
    yield row("last, without a space", f"lang=de;{mine}", MARKETER)
    yield row("of the loopback name", "sidecar=<<marketer>>", ANONYMOUS)
    yield row("in another case", "__host-sidecar=<<marketer>>", ANONYMOUS)
    yield row("twice", f"{mine}; {mine}", BAD)
    joined: dict[str, Outcome] = {"envoy": MALFORMED, "envoy-grpc": BAD}
    yield Row("cookie in two lines", request(MEDIA, f"Cookie: {mine}", f"Cookie: {mine}"), BAD, joined)
    yield row("behind a no-break space", "\u00a0__Host-sidecar=<<marketer>>", ANONYMOUS)
    yield row("for refreshing", "__Secure-sidecar-refresh=<<marketer>>", ANONYMOUS)
    yield row("malformed", ";;=; a; =b", ANONYMOUS)
    both = f"a=1; sidecar=x; {mine}; __Secure-sidecar-refresh=y; sidecar-refresh=z; b=2"
    yield row("beside a token", both, MARKETER, "Authorization: Bearer <<marketer>>")
    yield row("beside a token, twice", f"{both}; {both}", MARKETER, "Authorization: Bearer <<marketer>>")


def cross_site() -> Iterator[Row]:
    """R5: a request authenticated by a cookie comes from the dashboard itself, unless it only reads."""

    def post(name: str, expect: Outcome, *headers: str) -> Row:
        raw = request(MEDIA, *headers, method="POST", cookie="marketer", body="a=1")
        return Row(f"cross-site POST {name}", raw, expect)

    evil, ours = "Origin: https://evil.example", f"Origin: {ORIGIN}"
    yield post("that says nothing", CROSS_SITE)
    yield post("from us", UPLOAD, ours)
    yield post("told same-origin", UPLOAD, "Sec-Fetch-Site: same-origin")
    yield post("told same-site", CROSS_SITE, "Sec-Fetch-Site: same-site")
    yield post("from elsewhere", CROSS_SITE, evil)
    yield post("from null", CROSS_SITE, "Origin: null")
    yield post("from two origins", CROSS_SITE, ours, evil)
    raw = request(MEDIA, evil, method="POST", token="marketer", body="a=1")
    yield Row("cross-site POST with a token", raw, UPLOAD)

    opened = Allow("marketer", "media-library", "view", status=101)
    yield Row("websocket", websocket(MEDIA, token="marketer"), opened)
    yield Row("websocket denied", websocket(BILLING, token="marketer"), NOT_THEIRS)
    yield Row("websocket anonymous", websocket(MEDIA), ANONYMOUS)
    yield Row("websocket by cookie from us", websocket(MEDIA, ours, cookie="marketer"), opened)
    yield Row("websocket by cookie from elsewhere", websocket(MEDIA, evil, cookie="marketer"), CROSS_SITE)
    yield Row("websocket by cookie without origin", websocket(MEDIA, cookie="marketer"), CROSS_SITE)


def methods() -> Iterator[Row]:
    def row(method: str, expect: Outcome, body: str = "", target: str = MEDIA, **but: Outcome) -> Row:
        name = f"method {method} {target} {len(body)}"
        return Row(name, request(target, method=method, token="marketer", body=body), expect, but)

    manage = Allow("marketer", "media-library", "manage")
    yield row("HEAD", MARKETER)
    yield row("HEAD", NOT_THEIRS, target=BILLING)
    yield Row("method HEAD anonymous", request(MEDIA, method="HEAD"), ANONYMOUS)
    yield row("POST", UPLOAD, "a=" + "x" * 5000)
    yield row("POST", NOT_THEIRS, "a=1", BILLING)
    yield row("PUT", UPLOAD, "a=1")
    yield row("PATCH", manage, "a=1")
    yield row("DELETE", manage)
    chunked = f"POST {MEDIA} HTTP/1.1\r\nHost: dash.example\r\nAuthorization: Bearer <<marketer>>\r\n"
    chunked += "Transfer-Encoding: chunked\r\n\r\n3\r\na=1\r\n0\r\n\r\n"
    yield Row("method POST chunked", chunked.encode(), UPLOAD)
    yield row("OPTIONS", UNMATCHED)
    preflight = ("Origin: https://evil.example", "Access-Control-Request-Method: GET")
    yield Row("method OPTIONS as a preflight", request(MEDIA, *preflight, method="OPTIONS"), ANONYMOUS)
    yield row("TRACE", UNMATCHED, nginx=Deny(405))
    yield row("PROPFIND", UNMATCHED)
    yield row("FOO", UNMATCHED, envoy=REFUSED)
    yield row("get", UNMATCHED, nginx=REFUSED, envoy=REFUSED)
    connect: dict[str, Outcome] = {"traefik": Deny(501), "caddy": UNMATCHED}
    yield row("CONNECT", REFUSED, target="dash.example:80", **connect, envoy=Deny(404), haproxy=BAD)
    yield row("CONNECT", REFUSED, **connect, nginx=Deny(405))


def table() -> list[Row]:
    groups = (matrix, anonymous, tokens, cookies, cross_site, paths, spoofed, upgrades, methods, wire)
    return [row for group in groups for row in group()]
