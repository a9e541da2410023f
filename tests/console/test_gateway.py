"""The console through nginx with the shipped configuration."""

import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.console.conftest import missing
from tests.console.site import Person, Sidecars, Site
from tests.console.visitor import Visitor, expect
from tests.console.web_server import WebServer, serve
from tests.gateways.rig.programs import PROGRAMS, Gateway, Places
from tests.live.support import PASSWORD
from tests.ports import free_port

pytestmark = pytest.mark.slow

Visit = Callable[..., Visitor]


@pytest.fixture(scope="module")
def dashboard() -> Iterator[WebServer]:
    with serve() as running:
        yield running


@pytest.fixture(scope="module")
def behind_nginx(sidecars: Sidecars, dashboard: WebServer) -> Iterator[Site]:
    """A sidecar with nginx' address as its public URL, and nginx in front of it and of a dashboard of empty pages."""
    program = PROGRAMS["nginx"]
    binary = program.find()
    if binary is None:
        missing(program.missing)
    front = free_port()
    site = sidecars.start(f"http://localhost:{front}", TRUSTED_PROXIES="127.0.0.1/32")
    port = site.address[1]
    with tempfile.TemporaryDirectory(prefix="scc-nginx-") as folder:
        Path(folder).chmod(0o755)
        gateway = Gateway(program, binary, Places(front, port, port, dashboard.port, Path(folder)))
        try:
            yield site
        finally:
            gateway.stop()


def test_sign_in_invite_join_and_change_the_password(visit: Visit, behind_nginx: Site) -> None:
    account = behind_nginx.account()
    visitor = visit(origin=behind_nginx.origin)
    visitor.open("/console/users").sees("Sign in")
    visitor.sign_in(account.admin).sees("Users")
    bob = Person("Bob Berg", account.email_of("Bob"))
    link = visitor.link_in(visitor.invite(bob.name, bob.email, "Marketer"))
    assert link.startswith(behind_nginx.origin)
    visitor.page.keyboard.press("Escape")
    for page in ("Policy", "Audit"):
        visitor.go(page)
    guest = visit(origin=behind_nginx.origin).open(link)
    guest.sees(f"Join {account.name}")
    guest.join(PASSWORD)
    guest.account_settings(bob)
    guest.change_password(PASSWORD, "six green bottles on a shelf")
    guest.hears(re.compile("Your password has been changed"))
    guest.sign_out(bob)
    assert {response.status for response in [*visitor.responses, *guest.responses] if response.status >= 404} == set()


def test_the_dashboard_leads_to_sign_in_and_back(visit: Visit, behind_nginx: Site) -> None:
    account = behind_nginx.account()
    visitor = visit(origin=behind_nginx.origin)
    visitor.open("/dashboard/billing/?a=1&b=%2F%2Fevil.example").sees("Sign in")
    visitor.sign_in(account.admin)
    expect(visitor.page).to_have_url(f"{behind_nginx.origin}/dashboard/billing/?a=1&b=%2F%2Fevil.example")


@pytest.mark.parametrize("path", ["/console/sign-in", "/console/users", "/console/style.css"])
def test_the_headers_pass_nginx(visit: Visit, behind_nginx: Site, path: str) -> None:
    response = visit(origin=behind_nginx.origin).page.goto(behind_nginx.origin + path)
    assert response is not None
    assert response.status == 200
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert response.headers["referrer-policy"] == "no-referrer"


def test_R5_no_cookie_reaches_the_dashboard(visit: Visit, behind_nginx: Site, dashboard: WebServer) -> None:
    account = behind_nginx.account()
    visitor = visit(account.admin, origin=behind_nginx.origin)
    dashboard.seen.clear()
    visitor.open("/dashboard/billing/")
    assert {one["name"] for one in visitor.context.cookies()} == {"sidecar", "sidecar-refresh"}
    (headers,) = [headers for path, headers in dashboard.seen if path == "/dashboard/billing/"]
    assert "sidecar" not in headers.get("Cookie", "")
    assert headers["X-Auth-Email"] == account.admin.email
