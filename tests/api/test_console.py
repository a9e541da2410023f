"""Console files: paths, types, headers, validators. Every case is a path of the folder's files, whatever they are."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import RawTestServer, TestClient
from yarl import URL

from sidecar.api.console import CONTENT_SECURITY_POLICY, Console
from sidecar.api.dispatcher import Dispatcher
from sidecar.api.endpoints import API
from sidecar.sources.console_files import CONSOLE, ConsoleFilesError, read_console
from tests.pdp_fixture import app

FILES = {
    "index.html": b"<!doctype html><title>i</title>",
    "users.html": "<!doctype html><title>ü</title>".encode(),
    "shell.js": b"export const a = 1;\n",
    "style.css": b"h1 { color: CanvasText }\n",
    "mark.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
}
TYPES = {
    "/console/": "text/html; charset=utf-8",
    "/console/users": "text/html; charset=utf-8",
    "/console/shell.js": "text/javascript; charset=utf-8",
    "/console/style.css": "text/css; charset=utf-8",
    "/console/mark.svg": "image/svg+xml; charset=utf-8",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
ABSENT = [
    "/console/nothing",
    "/console/users.html",
    "/console/index",
    "/console/index.html",
    "/console/users//",
    "/console//users/",
    "/console//users",
    "/console/%75sers",
    "/console/%2e%2e/console/users",
    "/console/..%2f..%2fpyproject.toml",
    "/console/shell.js/",
    "/console/shell",
    "/console/USERS",
]
Client = TestClient[Any, Any]


async def open_client(console: Console | None, **health: bool) -> Client:
    shared = app()
    for name, value in health.items():
        setattr(shared.health, name, value)
    client: Client = TestClient(RawTestServer(Dispatcher(shared, API, checks=True, console=console)))
    await client.start_server()
    return client


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    made = await open_client(Console(FILES))
    yield made
    await made.close()


def assert_secured(headers: Any) -> None:
    assert headers.getall("Content-Security-Policy") == [POLICY]
    assert headers.getall("Cross-Origin-Opener-Policy") == ["same-origin"]
    assert headers.getall("Referrer-Policy") == ["no-referrer"]
    assert headers.getall("X-Content-Type-Options") == ["nosniff"]
    assert "Set-Cookie" not in headers


def test_the_policy_is_the_published_one() -> None:
    assert CONTENT_SECURITY_POLICY == POLICY


@pytest.mark.parametrize("path", TYPES)
async def test_each_file_is_served_with_its_type(client: Client, path: str) -> None:
    name = {"": "index.html", "users": "users.html"}.get(path.removeprefix("/console/"), path.rpartition("/")[2])
    answer = await client.get(path)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == TYPES[path]
    assert answer.headers["Cache-Control"] == "no-cache"
    assert await answer.read() == FILES[name]
    assert_secured(answer.headers)
    assert (await client.get(f"{path}?rd=/dashboard")).status == 200


@pytest.mark.parametrize("path", TYPES)
async def test_a_known_tag_is_answered_with_304(client: Client, path: str) -> None:
    tag = (await client.get(path)).headers["ETag"]
    for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = await client.get(path, headers={"If-None-Match": given})
        assert (answer.status, await answer.read(), answer.headers["ETag"]) == (304, b"", tag)
        assert answer.headers["Cache-Control"] == "no-cache"
        assert_secured(answer.headers)
    for given in ('"other"', tag.strip('"'), ""):
        assert (await client.get(path, headers={"If-None-Match": given})).status == 200


async def test_files_that_differ_have_different_tags(client: Client) -> None:
    assert len({(await client.get(path)).headers["ETag"] for path in TYPES}) == len(TYPES)


@pytest.mark.parametrize("path", TYPES)
async def test_head_has_the_headers_of_get_and_no_body(client: Client, path: str) -> None:
    got, head = await client.get(path), await client.head(path)
    assert (head.status, await head.read()) == (200, b"")
    for name in ("Content-Type", "Content-Length", "ETag", "Cache-Control"):
        assert head.headers[name] == got.headers[name]
    assert_secured(head.headers)


@pytest.mark.parametrize("path", ABSENT)
async def test_any_other_path_is_a_secured_404(client: Client, path: str) -> None:
    answer = await client.get(URL(path, encoded=True), allow_redirects=False)
    assert answer.status == 404
    assert (await answer.json())["code"] == "not_found"
    assert_secured(answer.headers)


@pytest.mark.parametrize("path", ABSENT)
async def test_a_browser_gets_a_page_for_an_absent_path(client: Client, path: str) -> None:
    headers = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "Sec-Fetch-Mode": "navigate"}
    url = URL(path, encoded=True)
    answer = await client.get(url, headers=headers, allow_redirects=False)
    assert (answer.status, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    text = await answer.text()
    for part in ("<h1>Page not found</h1>", '<a href="/console/">', '<link rel="icon" href="/console/icon.svg"'):
        assert part in text
    assert_secured(answer.headers)
    for other in (await client.get(url, headers={"Accept": "*/*"}), await client.post(url, headers=headers)):
        assert (other.status, (await other.json())["code"]) == (404, "not_found")
    script = await client.get(url, headers=headers | {"Sec-Fetch-Mode": "cors"})
    assert (await script.json())["code"] == "not_found"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("query", ["", "?rd=/dashboard"])
async def test_a_slash_after_a_page_is_dropped(client: Client, method: str, query: str) -> None:
    answer = await client.request(method, f"/console/users/{query}", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (302, f"/console/users{query}")
    assert_secured(answer.headers)
    assert (await client.post("/console/users/")).status == 405


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("path", ["/console/", "/console/users", "/console/shell.js", "/", "/console"])
async def test_other_methods_are_405(client: Client, path: str, method: str) -> None:
    answer = await client.request(method, path, allow_redirects=False)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert_secured(answer.headers)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/", "/console", "/?x=https://evil.example"])
async def test_the_root_redirects_to_the_console(client: Client, path: str, method: str) -> None:
    answer = await client.request(method, path, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (302, "/console/")
    assert_secured(answer.headers)


async def test_R8_a_foreign_host_gets_no_page(client: Client) -> None:
    for path in ("/", "/console/", "/console/users"):
        answer = await client.get(path, headers={"Host": "evil.com"}, allow_redirects=False)
        assert answer.status == 400
        assert_secured(answer.headers)


@pytest.mark.parametrize(
    ("public", "host", "led"),
    [
        ("http://localhost:9181", "127.0.0.1:9181", True),
        ("http://localhost:9181", "127.8.9.1:9181", True),
        ("http://localhost:9181", "[::1]:9181", True),
        ("http://localhost:9181", "demo.localhost:9181", True),
        ("http://127.0.0.1:9181", "LOCALHOST:9181", True),
        ("http://localhost", "127.0.0.1", True),
        ("http://localhost:9181", "localhost:9181", False),
        ("http://localhost:9181", "LocalHost:9181", False),
        ("http://localhost:9181", "127.0.0.1:8080", False),
        ("http://localhost:9181", "127.0.0.1", False),
        ("http://localhost:9181", "192.0.2.1:9181", False),
        ("http://localhost:9181", "sidecar:9181", False),
        ("http://localhost:9181", "127.0.0.1:x", False),
        ("http://localhost:9181", "[::1:9181", False),
        ("https://dash.example", "127.0.0.1", False),
        ("http://192.0.2.1:9181", "127.0.0.1:9181", False),
    ],
)
def test_other_loopback_names_lead_to_the_public_one(public: str, host: str, led: bool) -> None:
    """Cookies and Origin checks fit the public URL alone."""
    headers = [(b"Host", host.encode())]
    for path in ("/", "/console", "/console/", "/console/users", "/console/shell.js"):
        answer = Console(FILES, public).answer("GET", path, "rd=/a", headers)
        location = dict(answer.headers).get("Location", "")
        assert (answer.status, location) == (302, f"{public}{path}?rd=/a") or not led
        assert led or not location.startswith("http")
        assert Console(FILES, public).answer("POST", path, "", headers).status == 405
    assert Console(FILES, public).answer("GET", "/console/nothing", "", headers).status == 404


@pytest.mark.parametrize("query", ["a=\r\nX: y", "a=ü", "a=\udce4", "a= "])
def test_a_redirect_repeats_no_odd_byte(query: str) -> None:
    answer = Console(FILES, "http://localhost:1").answer("GET", "/console/", query, [(b"Host", b"127.0.0.1:1")])
    location = dict(answer.headers)["Location"]
    assert location.isascii()
    assert location.isprintable()
    assert location.startswith("http://localhost:1/console/")


@pytest.mark.parametrize("path", ["/", "/console", "/console/", "/console/users", "/console/shell.js"])
async def test_a_disabled_console_is_404(path: str) -> None:
    client = await open_client(None)
    assert (await client.get(path, allow_redirects=False)).status == 404
    await client.close()


async def test_pages_need_no_store() -> None:
    client = await open_client(Console(FILES), proven=False)
    assert (await client.get("/console/users")).status == 200
    await client.close()


def test_every_file_of_the_package_has_a_path() -> None:
    assert "index.html" in read_console()
    unserved = [path.name for path in CONSOLE.iterdir() if path.name not in read_console()]
    assert unserved == []


def test_other_files_of_the_folder_are_not_served(tmp_path: Path) -> None:
    for name in ("index.html", "a.js", "notes.md", ".hidden.js", "a.js.orig", "jsconfig.json"):
        (tmp_path / name).write_text(name)
    (tmp_path / "folder.js").mkdir()
    assert sorted(read_console(tmp_path)) == ["a.js", "index.html"]


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_unusable_files_name_folder_and_remedy(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConsoleFilesError, match=rf"{name}.*SIDECAR_CONSOLE=false"):
        read_console(tmp_path / name)


async def test_nothing_is_read_after_the_start(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes(b"first")
    client = await open_client(Console(read_console(tmp_path)))
    (tmp_path / "index.html").write_bytes(b"second")
    assert await (await client.get("/console/")).read() == b"first"
    await client.close()
