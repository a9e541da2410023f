"""A newcomer's run: ``sidecar demo``, its printed address, a sign-in and an invitation, in less than two minutes."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.console.site import Person
from tests.console.visitor import Visitor, expect
from tests.live.support import PASSWORD, ROOT

pytestmark = pytest.mark.slow

ENV = {name: value for name, value in os.environ.items() if not name.startswith("SIDECAR_")} | {"PYTHONPATH": str(ROOT)}
SECONDS = 120


@pytest.fixture
def printed(tmp_path: Path, redis_server_binary: str) -> Iterator[list[str]]:
    """The lines that the demo prints."""
    folder = tempfile.mkdtemp(prefix="d-")
    words = [sys.executable, "-m", "sidecar", "demo"]
    with (tmp_path / "err").open("w") as log:
        demo = subprocess.Popen(
            words, cwd=tmp_path, env=ENV | {"TMPDIR": folder}, stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert demo.stdout is not None
    try:
        lines = []
        for line in demo.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith("Ctrl-C"):
                break
        assert lines, (tmp_path / "err").read_text()
        yield lines
        demo.send_signal(signal.SIGINT)
        assert demo.wait(15) == 0
    finally:
        demo.kill()
        demo.wait(10)
        demo.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_newcomer_sees_it_work_within_two_minutes(printed: list[str], visit: Callable[..., Visitor]) -> None:
    """Nothing is typed that is not on the screen, but for the invited person's own words."""
    begun = time.monotonic()
    addresses = re.findall(r"http://localhost:\d+/console/\S*", "\n".join(printed))
    assert addresses, printed
    address = addresses[0].rstrip(".,")
    assert address in printed[0], "the console's address is in the first line"
    email, password = re.findall(r"(\S+@demo\.example) +(\S+)", "\n".join(printed))[0]
    origin = address.partition("/console/")[0]
    visitor = visit(origin=origin).open(address)
    visitor.sees("Sign in")
    visitor.sign_in(Person("Ada Admin", email, password)).sees("Users")
    rows = visitor.page.get_by_role("table", name="Users").get_by_role("row")
    expect(rows).to_have_count(5)  # a heading and four people
    dialog = visitor.invite("Bob Berg", "bob@demo.example", "Marketer")
    guest = visit(origin=origin).open(visitor.link_in(dialog))
    guest.join(PASSWORD)
    expect(guest.page.get_by_role("banner").get_by_role("button", name="Bob Berg")).to_be_visible()
    visitor.open("/console/users")
    expect(visitor.row("Bob Berg")).to_contain_text("Marketer")
    expect(visitor.row("Bob Berg")).not_to_contain_text("Invited")
    assert time.monotonic() - begun < SECONDS


@pytest.mark.parametrize("name", ["127.0.0.1", "[::1]"])
def test_other_loopback_names_lead_to_localhost(printed: list[str], visit: Callable[..., Visitor], name: str) -> None:
    port = re.findall(r"http://localhost:(\d+)/console/", "\n".join(printed))[0]
    origin = f"http://localhost:{port}"
    visitor = visit(origin=origin)
    with visitor.allowing("request to another origin"):
        visitor.open(f"http://{name}:{port}/console/")
    visitor.sees("Sign in")
    assert visitor.page.url.startswith(origin + "/")
