"""The console over TLS, with cookies that their names bind to the host."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.console.site import Person, Sidecars
from tests.console.visitor import Visitor, expect
from tests.live.support import PASSWORD
from tests.ports import free_port
from tests.server.certificates import make_pair

pytestmark = pytest.mark.slow


def test_R5_host_cookies_over_tls(visit: Callable[..., Visitor], sidecars: Sidecars, tmp_path: Path) -> None:
    chain, key = make_pair(tmp_path)
    port = free_port()
    site = sidecars.start(f"https://localhost:{port}", port=port, TLS_CERT=str(chain), TLS_KEY=str(key))
    account = sidecars.plain().account()
    visitor = visit(account.admin, origin=site.origin, ignore_https_errors=True)
    visitor.sees("Users")
    found = {one["name"]: one for one in visitor.context.cookies()}
    assert set(found) == {"__Host-sidecar", "__Secure-sidecar-refresh"}
    assert all(one["secure"] and one["httpOnly"] for one in found.values())
    assert (found["__Host-sidecar"]["path"], found["__Host-sidecar"]["sameSite"]) == ("/", "Lax")
    assert found["__Secure-sidecar-refresh"]["sameSite"] == "Strict"
    bob = Person("Bob Berg", account.email_of("Bob"))
    link = visitor.link_in(visitor.invite(bob.name, bob.email, "Marketer"))
    assert link.startswith(site.origin)
    guest = visit(origin=site.origin, ignore_https_errors=True).open(link)
    guest.join(PASSWORD)
    expect(guest.menu(bob)).to_be_visible()
    guest.sign_out(bob)
    assert guest.context.cookies() == []
