"""API clients of third-party generators: generated from the document without a warning, and working."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.api.endpoints import API, CHECKS, OPS
from sidecar.api.openapi.document import EndpointTables, document
from tests.gateways import install
from tests.live.support import PASSWORD, Process, begin, cli, found_account
from tests.ports import free_port

pytestmark = pytest.mark.slow

USE_PYTHON = """\
import sys, pkgutil, importlib
import policy_sidecar_client as made
for module in pkgutil.walk_packages(made.__path__, made.__name__ + "."):
    importlib.import_module(module.name)
from policy_sidecar_client import AuthenticatedClient, Client, models
from policy_sidecar_client.api.checks import check_section, post_v1_check
from policy_sidecar_client.api.me import get_v1_me
from policy_sidecar_client.api.oauth import post_introspect, post_revoke, post_token
url, email, password, key = sys.argv[1:]
open_ = Client(base_url=url)
asked = models.PasswordGrant(grant_type=models.PasswordGrantGrantType.PASSWORD, username=email, password=password)
grant = post_token.sync(client=open_, body=asked)
assert isinstance(grant, models.Grant), grant
asked = models.RefreshGrant(grant_type=models.RefreshGrantGrantType.REFRESH_TOKEN, refresh_token=grant.refresh_token)
grant = post_token.sync(client=open_, body=asked)
assert isinstance(grant, models.Grant), grant
ada = AuthenticatedClient(base_url=url, token=grant.access_token)
assert get_v1_me.sync(client=ada).email == email
checked = post_v1_check.sync(client=ada, body=models.Check(section="billing", action="view"))
assert checked.decision is True, checked
assert check_section.sync_detailed("billing", client=ada).status_code == 200
pep = AuthenticatedClient(base_url=url, token=key)
told = post_introspect.sync(client=pep, body=models.TokenQuery(token=grant.access_token))
assert told.active and told.client_id == grant.user.id, told
assert post_revoke.sync_detailed(client=open_, body=models.TokenQuery(token=grant.refresh_token)).status_code == 200
refused = post_token.sync(client=open_, body=asked)
assert isinstance(refused, models.OAuthError) and refused.error == "invalid_grant", refused
print("done")
"""
USE_TYPESCRIPT = """\
import type { paths, components } from "./api";
type Token = paths["/token"]["post"];
type Asked = Token["requestBody"]["content"]["application/x-www-form-urlencoded"];
type Grant = Token["responses"][200]["content"]["application/json"];
export const asked: Asked = { grant_type: "password", username: "a@example.com", password: "p" };
export const again: Asked = { grant_type: "refresh_token", refresh_token: "rt" };
// @ts-expect-error a grant needs its own members
export const wrong: Asked = { grant_type: "password" };
export const bearer = (grant: Grant): string => `Bearer ${grant.access_token} of ${grant.user.email}`;
export const reason: components["schemas"]["Denial"]["reason"] = "no_rule";
export type Decided = paths["/v1/check"]["post"]["responses"][200]["content"]["application/json"];
export type Allowed = paths["/check/sections/{section}"]["get"]["responses"][200];
"""


@pytest.fixture(scope="module")
def tools() -> Path:
    folder = install.client_generators()
    if folder is None:
        pytest.skip(f"generators of API clients: {install.why('clients')}")
    return folder


@pytest.fixture
def described(tmp_path: Path) -> Path:
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(document(EndpointTables(CHECKS, API, OPS), "https://sidecar.example")))
    return path


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[Process]:
    url, ops = (f"127.0.0.1:{free_port()}" for _ in range(2))
    settings = {"LISTEN": url, "OPS_LISTEN": ops, "STATE_DIR": str(tmp_path / "state"), "DRAIN": "0s"}
    log = tmp_path / "log"
    with log.open("wb") as sink:
        popen = begin(settings, sink)
    process = Process(popen, f"http://{url}", f"http://{ops}", log, settings)
    try:
        found_account(process.wait_ready())
        yield process
    finally:
        popen.terminate()
        popen.wait(15)


def ran(words: list[str], folder: Path, tools: Path, **env: str) -> str:
    path = os.pathsep.join([str(tools / "bin"), str(tools / "node_modules/.bin"), os.environ["PATH"]])
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False, env={"PATH": path, "HOME": str(folder), **env}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_openapi_python_client_signs_in_and_checks(
    tools: Path, described: Path, sidecar: Process, tmp_path: Path
) -> None:
    ran(
        ["openapi-python-client", "generate", "--path", str(described), "--output-path", "made", "--fail-on-warning"],
        tmp_path,
        tools,
    )
    key = pep_key(sidecar)
    (tmp_path / "use.py").write_text(USE_PYTHON)
    words = [str(tools / "bin/python"), "use.py", sidecar.url, "ada@example.com", PASSWORD, key]
    assert ran(words, tmp_path, tools, PYTHONPATH="made") == "done\n"


def pep_key(sidecar: Process) -> str:
    done = cli(sidecar.settings, "pep", "create", "reports", "--scope", "introspect")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_openapi_typescript_makes_types_that_tsc_takes_strictly(tools: Path, described: Path, tmp_path: Path) -> None:
    ran(["openapi-typescript", str(described), "-o", "api.ts"], tmp_path, tools)
    (tmp_path / "use.ts").write_text(USE_TYPESCRIPT)
    ran(["tsc", "--strict", "--noEmit", "--target", "es2022", "api.ts", "use.ts"], tmp_path, tools)
