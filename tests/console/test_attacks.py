"""Attacks on the pages: frames, requests of other origins, tokens that stay behind, users of another account."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.console.pages import PAGES, calls
from tests.console.site import Account, Person, Site
from tests.console.visitor import Visitor, expect
from tests.console.web_server import WebServer, serve
from tests.live.support import PASSWORD

pytestmark = pytest.mark.slow

Visit = Callable[..., Visitor]
FOREIGN = ("frame-ancestors", "Framing", "request to another origin", "CORS", "ERR_", "console (error|warning)")
"""What an attacker's own page makes a browser report."""

CALLS: dict[tuple[str, str], Any] = {
    ("POST", "/v1/session"): {"username": "x@y.example", "password": "x"},
    ("POST", "/v1/session/refresh"): None,
    ("DELETE", "/v1/session"): None,
    ("POST", "/v1/session/factor"): {"challenge": "x", "code": "123456"},
    ("POST", "/v1/session/passkey"): {"challenge": "x", "credential": {}},
    ("POST", "/v1/session/passkey/options"): {},
    ("POST", "/v1/session/step-up"): {"password": PASSWORD},
    ("POST", "/v1/session/step-up/options"): {},
    ("POST", "/v1/me/factors/totp"): None,
    ("POST", "/v1/me/factors/passkey"): None,
    ("POST", "/v1/me/factors/{}/confirm"): {"code": "123456"},
    ("PATCH", "/v1/me/factors/{}"): {"name": "Owned"},
    ("DELETE", "/v1/me/factors/{}"): None,
    ("POST", "/v1/me/recovery-codes"): None,
    ("PATCH", "/v1/me"): {"name": "Owned"},
    ("POST", "/v1/me/password"): {"old_password": PASSWORD, "new_password": "owned by another page"},
    ("DELETE", "/v1/me/sessions"): None,
    ("DELETE", "/v1/me/sessions/{}"): None,
    ("POST", "/v1/users"): {"email": "owned@evil.example", "role": "account-administrator"},
    ("PATCH", "/v1/users/{}"): {"role": "account-administrator"},
    ("DELETE", "/v1/users/{}"): None,
    ("POST", "/v1/users/{}/invitation"): None,
    ("POST", "/v1/users/{}/review"): {"role": "marketer", "status": "active"},
    ("DELETE", "/v1/users/{}/factors"): None,
    ("POST", "/v1/users/{}/factors/confirm"): None,
    ("DELETE", "/v1/users/{}/sessions"): None,
    ("POST", "/v1/users/{}/password-reset"): {"show": True},
    ("POST", "/v1/policy/preview"): {"files": {}},
}
"""Changes that a cookie authorizes, with a body. The calls of the links carry a secret of their own instead."""

BY_SECRET = {
    ("POST", "/v1/invitations/show"),
    ("POST", "/v1/invitations/accept"),
    ("POST", "/v1/password/forgot"),
    ("POST", "/v1/password/reset"),
}


@pytest.fixture
def attacker() -> Iterator[WebServer]:
    with serve() as running:
        yield running


def filled(path: str, user: Person) -> str:
    return path.replace("{}", user.id)


def test_every_call_of_the_pages_is_attacked_here() -> None:
    found = set(calls())
    assert len(found) >= 10, "the pages' calls are not found in their modules"
    assert found - set(CALLS) - BY_SECRET == set()


@pytest.mark.parametrize("site_kind", ["cross_site", "same_site"])
def test_a_page_is_in_no_frame(visit: Visit, account: Account, attacker: WebServer, site_kind: str) -> None:
    visitor = visit(account.admin)
    frames = [f'<iframe src="{visitor.origin}/console/{page}"></iframe>' for page in (*PAGES, "", "style.css")]
    attacker.pages["/"] = f'<!doctype html><title>a</title>{"".join(frames)}<iframe src="/own"></iframe>'
    attacker.pages["/own"] = "<!doctype html><title>b</title><h1>Framed</h1>"
    with visitor.allowing(*FOREIGN):
        visitor.open(getattr(attacker, site_kind))
        visitor.page.wait_for_load_state("networkidle")
        framed = [frame for frame in visitor.page.frames if frame.parent_frame]
        assert len(framed) == len(frames) + 1
        addresses = [frame.url for frame in framed]
        assert addresses == ["chrome-error://chromewebdata/"] * len(frames) + [visitor.page.url + "own"]


@pytest.fixture(scope="module")
def target(site: Site) -> tuple[Account, Person, str]:
    """An account, a member of it, and the cookies of its signed-in administrator."""
    account = site.account()
    bob = account.join("Bob Berg", "marketer")
    body = {"username": account.admin.email, "password": PASSWORD}
    return account, bob, site.sign_in_cookies(body)


@pytest.mark.parametrize(("method", "path"), CALLS, ids=lambda text: text)
@pytest.mark.parametrize("origin", ["null", "http://evil.example", "http://localhost:1", None])
def test_R4_a_call_of_another_origin_changes_nothing(
    target: tuple[Account, Person, str], method: str, path: str, origin: str | None
) -> None:
    """As a browser sends it: with the cookies, and an ``Origin`` and ``Sec-Fetch-Site`` that no page can choose."""
    account, bob, cookie = target
    before = account.members()
    body = CALLS[method, path]
    sent = {"Origin": origin} if origin else {"Sec-Fetch-Site": "cross-site"}
    answer = account.site.ask(
        method, filled(path, bob), body, Cookie=cookie, **{k.replace("-", "_"): v for k, v in sent.items()}
    )
    assert answer.status in {400, 401, 403}, answer
    assert "Set-Cookie" not in answer.headers or "Max-Age=0" in answer.headers["Set-Cookie"]
    assert same(account.members()) == same(before)
    assert account.site.ask("GET", "/v1/me", Cookie=cookie).status == 200, "still signed in"


def same(members: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(one["id"], one["name"], one["role"], one["status"], one.get("sessions", 0)) for one in members]


@pytest.mark.parametrize("site_kind", ["cross_site", "same_site"])
def test_R4_a_page_of_another_origin_changes_nothing(
    visit: Visit, account: Account, attacker: WebServer, site_kind: str
) -> None:
    """A real browser with real cookies: by fetch in each mode that sends a body, and by form."""
    bob = account.join("Bob Berg", "marketer")
    visitor = visit(account.admin)
    before = same(account.members())
    requests = [[method, visitor.origin + filled(path, bob), body] for (method, path), body in CALLS.items()]
    attack = """async (requests) => { const results = [];
      for (const [method, url, body] of requests)
        for (const mode of ["no-cors", "cors"])
          for (const type of ["text/plain", "application/json", "application/x-www-form-urlencoded"])
            results.push(await fetch(url, {method, mode, credentials: "include",
              headers: {"Content-Type": type}, body: body === null ? undefined : JSON.stringify(body)})
              .then((response) => response.type + response.status, () => "failed"));
      return results; }"""
    form = "".join(
        f'<form method="post" enctype="text/plain" action="{url}" target="f{at}"><input name=\'{{"a":"\' value=\'"}}\'>'
        f'</form><iframe name="f{at}"></iframe>'
        for at, (method, url, _) in enumerate(requests)
        if method == "POST"
    )
    attacker.pages["/"] = (
        f"<!doctype html><title>a</title>{form}"
        "<script>document.querySelectorAll('form').forEach((form) => form.submit())</script>"
    )
    with visitor.allowing(*FOREIGN):
        visitor.open(getattr(attacker, site_kind))
        results = set(visitor.page.evaluate(attack, requests))
        visitor.page.wait_for_load_state("networkidle")
    assert results <= {"failed", "opaque0"}
    mutating = [one for one in visitor.responses if one.request.method not in {"GET", "OPTIONS"}]
    ours = [one.status for one in mutating if one.url.startswith(visitor.origin) and one.frame.page == visitor.page]
    assert {status for status in ours if status < 400} <= {204, 200}, "only the sign-in of the test itself"
    assert same(account.members()) == before
    visitor.open("/console/account-settings").sees("Account settings")
    visit(Person("Ada", account.admin.email))


@pytest.mark.parametrize("site_kind", ["cross_site", "same_site"])
def test_a_page_of_another_origin_reads_nothing(
    visit: Visit, account: Account, attacker: WebServer, site_kind: str
) -> None:
    visitor = visit(account.admin)
    paths = ["/v1/me", "/v1/users", "/v1/account", "/v1/audit", "/v1/roles", "/v1/policy", "/console/users"]
    read = """async (urls) => Promise.all(urls.map((url) => fetch(url, {credentials: "include"})
      .then(async (response) => response.type + (await response.text()).length, () => "failed")))"""
    script = """(urls) => Promise.all(urls.map((url) => new Promise((done) => {
      const one = document.createElement("script");
      one.onload = () => done("loaded");
      one.onerror = () => done("failed");
      one.src = url;
      document.head.append(one); })))"""
    with visitor.allowing(*FOREIGN):
        visitor.open(getattr(attacker, site_kind))
        urls = [visitor.origin + path for path in paths]
        assert set(visitor.page.evaluate(read, urls)) == {"failed"}
        assert set(visitor.page.evaluate(script, urls)) <= {"failed", "loaded"}
        names = "Object.keys(window).filter((name) => /user|member|account/i.test(name))"
        assert visitor.page.evaluate(names) == []


def test_an_opener_has_no_hold_of_the_page(visit: Visit, account: Account, attacker: WebServer) -> None:
    visitor = visit(account.admin)
    with visitor.allowing(*FOREIGN):
        visitor.open(attacker.same_site)
        with visitor.context.expect_page() as opened:
            visitor.page.evaluate(f"window.held = window.open('{visitor.origin}/console/users', 'held')")
        opened.value.get_by_role("heading", level=1, name="Users").wait_for()
        assert opened.value.evaluate("window.opener") is None
        assert visitor.page.evaluate("window.held.closed") is True, "COOP severs the reference"


SECRET = re.compile(r"[A-Za-z0-9_-]{20,}")


def secret_of(link: str) -> str:
    return link.partition("#")[2]


def test_R5_a_links_token_stays_nowhere(visit: Visit, account: Account) -> None:
    """Neither in the history, nor in a request's line or Referer, nor in the browser's storage."""
    _, link = account.invite("Bob Berg", "marketer")
    reset = account.reset_link(account.join("Carl Clerk", "marketer"))
    for address, heading in ((link, f"Join {account.name}"), (reset, "Choose a new password")):
        visitor = visit()
        lines: list[str] = []
        referers: list[str] = []
        visitor.page.on("request", lambda request, lines=lines: lines.append(request.url + str(request.headers)))
        visitor.page.on("request", lambda one, kept=referers: kept.append(one.headers.get("referer", "")))
        visitor.open(address).sees(heading)
        secret = secret_of(address)
        assert len(secret) > 20
        assert secret not in visitor.page.url
        assert [entry for entry in visitor.history() if secret in entry] == []
        assert [line for line in lines if secret in line] == []
        assert set(referers) == {""}
        nothing_stored(visitor)
        assert secret not in visitor.page.content(), "no copy in the document"


def nothing_stored(visitor: Visitor) -> None:
    stored = """async () => ({local: localStorage.length, session: sessionStorage.length, cookie: document.cookie,
      databases: (await indexedDB.databases()).length, caches: (await caches.keys()).length, name: window.name,
      workers: (await navigator.serviceWorker.getRegistrations()).length, state: JSON.stringify(history.state)})"""
    found = visitor.page.evaluate(stored)
    assert not SECRET.search(found.pop("state") or "")
    empty = dict.fromkeys(("local", "session", "databases", "caches", "workers"), 0)
    assert found == empty | {"cookie": "", "name": ""}


def test_R5_no_token_is_in_a_body_or_the_storage(visit: Visit, account: Account) -> None:
    bob, link = account.invite("Bob Berg", "marketer")
    visitor = visit()
    bodies: list[str] = []

    def keep(route: Any) -> None:
        """Pass on the response and keep its body: the browser drops that of a page that is left."""
        response = route.fetch()
        bodies.append(response.text())
        route.fulfill(response=response)

    visitor.context.route("**/v1/**", keep)
    visitor.open(link)
    visitor.join(PASSWORD)
    expect(visitor.menu(bob)).to_be_visible()
    visitor.open("/console/account-settings")
    visitor.page.wait_for_load_state("networkidle")
    nothing_stored(visitor)
    kept = visitor.context.cookies()
    assert {one["name"] for one in kept} == {"sidecar", "sidecar-refresh"}
    assert all(one["httpOnly"] for one in kept)
    tokens = [one["value"] for one in kept]
    assert len(bodies) > 5
    for body in bodies:
        assert "access_token" not in body
        assert "refresh_token" not in body
        assert [token for token in tokens if token in body] == []
    sessions = account.ask("GET", "/v1/users")["users"]
    live = next(one for one in sessions if one["email"] == bob.email).get("sessions")
    assert live in {None, 1}, "no stray session is left"


def test_a_user_of_another_account_reaches_nothing(visit: Visit, account: Account) -> None:
    """Eve administers her own account, and knows the ids of this one."""
    bob = account.join("Bob Berg", "marketer")
    account.invite("Dora Dev", "developer")
    visit(bob)
    eve = visit(account.site.account(admin="Eve Else").admin)
    eve.sees("Users")
    before = same(account.members())
    ask = """([method, path, body]) => fetch(path, body === null ? {method} : {method, body: JSON.stringify(body),
      headers: {"Content-Type": "application/json"}}).then((response) => response.status)"""
    for (method, path), body in CALLS.items():
        if "/users/{}" in path or path == "/v1/me/sessions/{}":
            assert eve.page.evaluate(ask, [method, filled(path, bob), body]) == 404, (method, path)
    assert eve.page.evaluate(ask, ["GET", f"/v1/users/{bob.id}/sessions", None]) == 404
    for filters in (f"actor={account.admin.id}", f"target={bob.id}"):
        found = eve.page.evaluate(f"fetch('/v1/audit?{filters}').then((response) => response.json())")
        assert found.get("entries", []) == []
    assert same(account.members()) == before
    for page in ("users", "audit", "policy"):
        eve.open(f"/console/{page}")
        eve.rests()
        for text in ("Bob Berg", "Dora Dev", bob.email, account.name):
            expect(eve.page.get_by_text(text)).to_have_count(0)
    eve.open(f"/console/audit?actor={account.admin.id}&target={bob.id}")
    eve.rests()
    expect(eve.page.get_by_text(bob.email)).to_have_count(0)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_its_headers(site: Site, page: str) -> None:
    answer = site.ask("GET", f"/console/{page}")
    assert answer.status == 200
    policy = dict(part.partition(" ")[::2] for part in answer.headers["Content-Security-Policy"].split("; "))
    assert (
        policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == policy["trusted-types"] == "'none'"
    )
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    again = site.ask("GET", f"/console/{page}", If_None_Match=answer.headers["ETag"])
    assert again.status == 304
