"""Cookies of browser sessions, and the checks of the calls that set or replace them (R4, R5)."""

from typing import Any, Final

from sidecar.domain.decision import Reason
from sidecar.domain.problems import Code, Problem
from sidecar.gateways.cookie_filter import refresh_name
from sidecar.http.authorization import explain_cross_site
from sidecar.http.context import PublicConfig
from sidecar.http.credentials import HOST_COOKIE
from sidecar.http.csrf import origin_of
from sidecar.http.headers import header_values
from sidecar.http.problems import of_reason, problem_answer
from sidecar.http.request import Request
from sidecar.http.response import REALM, RawResponse
from sidecar.identity.sessions import Grant

SESSION: Final = "/v1/session"

Headers = tuple[tuple[str, str], ...]


def refuse_other_page(call: Request[Any]) -> Problem | None:
    """Return the problem of a call that is not JSON, or not from a page with exactly the public URL's origin."""
    ours = origin_of(call.app.public_config.public_url)
    if header_values(call.headers, b"origin") != [ours.encode("latin-1")]:
        detail = explain_cross_site(call.app, call.headers) or f"send exactly one Origin, {ours}"
        return problem_of(call, Reason.CROSS_SITE, detail)
    types = header_values(call.headers, b"content-type")
    if len(types) != 1 or types[0].partition(b";")[0].strip().lower() != b"application/json":
        return Problem(Code.BAD_REQUEST, "Content-Type must be application/json")
    return None


def session_cookies(call: Request[Any], grant: Grant, seconds: int | None = None) -> Headers:
    """Return both cookies of a new pair, with the lifetime of the session.

    An access cookie with an expired token still proves the browser's session (R5). ``seconds``: what is left of a
    session that is not new.
    """
    public_config = call.app.public_config
    seconds = call.app.people.issuer.refresh_ttl if seconds is None else seconds
    return (
        _cookie(public_config, public_config.cookie, grant.access_token, seconds),
        _cookie(public_config, refresh_name(public_config.cookie), grant.refresh_token, seconds),
    )


def cleared_cookies(public_config: PublicConfig) -> Headers:
    """Return headers that remove both cookies."""
    return (
        _cookie(public_config, public_config.cookie, "", 0),
        _cookie(public_config, refresh_name(public_config.cookie), "", 0),
    )


def _cookie(public_config: PublicConfig, name: str, value: str, seconds: int) -> tuple[str, str]:
    """Return a Set-Cookie header. No Domain: only this host receives it. Secure if the public URL is https (R4)."""
    path, site = ("/", "Lax") if name == public_config.cookie else (SESSION, "Strict")
    secure = "; Secure" if public_config.cookie == HOST_COOKIE else ""
    return "Set-Cookie", f"{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly{secure}; SameSite={site}"


def problem_of(call: Request[Any], reason: Reason, detail: str = "") -> Problem:
    """Return a denial of a call."""
    return of_reason(reason, call.generation.id if call.generation else "", detail)


def render_problem(problem: Problem) -> RawResponse:
    """Render a problem. Each 401 gets a challenge, also for a wrong password (RFC 9110 section 11.6.1)."""
    answer = problem_answer(problem)
    if answer.status != 401 or any(name == "WWW-Authenticate" for name, _ in answer.headers):
        return answer
    return RawResponse(answer.status, (*answer.headers, ("WWW-Authenticate", f'Bearer realm="{REALM}"')), answer.body)
