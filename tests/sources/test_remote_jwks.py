"""Cached keys of external issuers (R10): one fetch for many requests, none for unknown issuers, none older than a day,
no redirects.
"""

import asyncio
import gzip
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm
from structlog.testing import capture_logs

from sidecar.sources import remote_jwks
from sidecar.sources.remote_jwks import (
    COOLDOWN,
    MAX_BYTES,
    STALE,
    UNKNOWN_FOR,
    IssuerKeys,
    UnreadableKeySetError,
    client,
    from_file,
    from_url,
)
from sidecar.telemetry.tracing import Tracer
from sidecar.tokens.jwk_set import WantedKey


def document(*kids):
    keys = []
    for number, kid in enumerate(kids):
        public = Ed25519PrivateKey.from_private_bytes(bytes([number + 1]) * 32).public_key()
        keys.append({**OKPAlgorithm.to_jwk(public, as_dict=True), "kid": kid})
    return json.dumps({"keys": keys}).encode()


def wanted(kid):
    return WantedKey(kid, "EdDSA")


class Issuer:
    """An issuer's key set with a counter. ``hold``: fetches wait until it is set."""

    def __init__(self):
        self.content: bytes | Exception = document("a")
        self.readings = 0
        self.hold = asyncio.Event()
        self.hold.set()

    async def read(self):
        self.readings += 1
        await self.hold.wait()
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


@pytest.fixture
def issuer():
    return Issuer()


@pytest.fixture
def captured_logs():
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def keys(issuer, clock):
    return IssuerKeys("https://login.example", issuer.read, frozenset({"EdDSA"}), clock=clock.monotonic)


async def test_keys_are_read_once_and_at_hand_ever_after(keys, issuer):
    assert keys.peek(wanted("a")) is None
    assert (await keys.find(wanted("a"))) is not None
    assert keys.peek(wanted("a")) is await keys.find(wanted("a"))
    assert issuer.readings == 1


async def test_many_who_want_a_key_share_one_reading(keys, issuer):
    issuer.hold.clear()
    many = [asyncio.create_task(keys.find(wanted("a"))) for _ in range(50)]
    await asyncio.sleep(0)
    issuer.hold.set()
    assert None not in await asyncio.gather(*many)
    assert issuer.readings == 1


async def test_R10_random_kids_make_nobody_fetch(keys, issuer, clock):
    await keys.find(wanted("a"))
    for number in range(500):
        assert await keys.find(wanted(f"random-{number}")) is None
    assert issuer.readings == 1, "a fetch was made a moment ago"
    for round_ in range(10):
        clock.advance(COOLDOWN)
        for number in range(50):
            assert await keys.find(wanted(f"random-{round_}-{number}")) is None
    assert issuer.readings == 11, "one per half a minute, for any request"


async def test_R10_a_missing_kid_is_not_fetched_again_soon(keys, issuer, clock):
    await keys.find(wanted("a"))
    clock.advance(COOLDOWN)
    for _ in range(3):
        assert await keys.find(wanted("b")) is None
        clock.advance(COOLDOWN)
    assert issuer.readings == 2
    clock.advance(UNKNOWN_FOR)
    assert await keys.find(wanted("b")) is None
    assert issuer.readings == 3


async def test_a_rotation_over_there_is_noticed_by_its_first_token(keys, issuer, clock):
    await keys.find(wanted("a"))
    first = keys.version
    issuer.content = document("b", "a")
    clock.advance(COOLDOWN)
    assert (await keys.find(wanted("b"))) is not None
    assert keys.version != first
    issuer.content = document("b")
    clock.advance(COOLDOWN)
    await keys.find(wanted("c"))
    assert keys.peek(wanted("a")) is None, "a withdrawn key verifies no token any more"


async def test_an_unknown_kid_is_sought_again_after_the_set_changed(keys, issuer, clock):
    await keys.find(wanted("a"))
    clock.advance(COOLDOWN)
    assert await keys.find(wanted("b")) is None
    issuer.content = document("a", "c")
    clock.advance(COOLDOWN)
    await keys.find(wanted("c"))
    issuer.content = document("a", "b", "c")
    clock.advance(COOLDOWN)
    assert (await keys.find(wanted("b"))) is not None


@pytest.mark.parametrize("content", [UnreadableKeySetError("status 500 instead of 200"), b"<html>", b'{"keys": {}}'])
async def test_R10_keys_expire_a_day_after_the_last_good_fetch(keys, issuer, clock, content):
    await keys.find(wanted("a"))
    issuer.content = content
    clock.advance(STALE - 1)
    await keys.find(wanted("b"))
    assert keys.peek(wanted("a")) is not None
    clock.advance(1)
    assert keys.peek(wanted("a")) is None
    assert not keys.usable()
    assert await keys.find(wanted("a")) is None
    issuer.content = document("a")
    clock.advance(COOLDOWN)
    clock.advance(UNKNOWN_FOR)
    assert (await keys.find(wanted("a"))) is not None


async def test_a_question_does_not_wait_for_a_slow_issuer(keys, issuer, monkeypatch):
    monkeypatch.setattr(remote_jwks, "PATIENCE", 0.01)
    issuer.hold.clear()
    assert await keys.find(wanted("a")) is None
    issuer.hold.set()
    await asyncio.sleep(0.01)
    assert keys.peek(wanted("a")) is not None, "the fetch continued"


async def test_watching_reads_at_once_and_again_and_ends_its_reading(keys, issuer, monkeypatch):
    monkeypatch.setattr(remote_jwks, "REFRESH", 0.005)
    watching = asyncio.create_task(keys.watch())
    while issuer.readings < 3:
        await asyncio.sleep(0.005)
    assert keys.peek(wanted("a")) is not None
    issuer.hold.clear()
    before = issuer.readings
    while issuer.readings == before:
        await asyncio.sleep(0.005)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1


async def test_a_fault_of_ours_in_a_reading_is_no_key_and_no_exception(keys, issuer):
    issuer.content = RuntimeError("a bug")
    assert await keys.find(wanted("a")) is None


async def test_the_memory_of_unknown_kids_is_bounded(issuer, monkeypatch, clock):
    monkeypatch.setattr(remote_jwks, "MAX_UNKNOWN", 10)
    keys = IssuerKeys("https://login.example", issuer.read, frozenset({"EdDSA"}), clock=clock.monotonic)
    for number in range(50):
        clock.advance(COOLDOWN)
        await keys.find(wanted(f"x-{number}"))
    assert len(keys._unknown) <= 10


# Over HTTP -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def serve():
    servers = []

    async def start(handler):
        app = web.Application()
        app.router.add_get("/keys", handler)
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        return str(server.make_url("/keys"))

    yield start
    for server in servers:
        await server.close()


async def fetched(url):
    async with client() as session:
        return await from_url(session, url)()


async def test_a_fetch_has_no_cookies_credentials_or_compression(serve, monkeypatch):
    seen = []

    async def handler(request):
        seen.append(dict(request.headers))
        response = web.Response(body=document("a"))
        response.set_cookie("track", "me")
        return response

    url = await serve(handler)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with client() as session:
        for _ in range(2):
            assert await from_url(session, url)() == document("a")
    for headers in seen:
        assert headers["Accept-Encoding"] == "identity"
        assert not {"Cookie", "Authorization"} & set(headers)


async def test_R10_a_redirect_is_not_followed(serve):
    async def elsewhere(_):
        return web.Response(body=document("evil"))

    there = await serve(elsewhere)

    async def handler(_):
        raise web.HTTPFound(there)

    with pytest.raises(UnreadableKeySetError, match="status 302 instead of 200"):
        await fetched(await serve(handler))


async def test_R10_a_document_without_end_is_cut_off(serve):
    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100_000):
            await response.write(b" " * 65536)
        return response

    with pytest.raises(UnreadableKeySetError, match=f"larger than {MAX_BYTES} bytes"):
        await fetched(await serve(handler))


async def test_R10_a_slow_document_is_given_up(serve, monkeypatch):
    monkeypatch.setattr(remote_jwks, "FETCH_SECONDS", 0.05)

    async def handler(_):
        await asyncio.sleep(1)
        return web.Response(body=document("a"))

    with pytest.raises(UnreadableKeySetError, match=r"within 0\.05 s"):
        await fetched(await serve(handler))


async def test_R10_a_bomb_is_not_unpacked(serve):
    async def handler(_):
        return web.Response(body=gzip.compress(b" " * 10**7), headers={"Content-Encoding": "gzip"})

    with pytest.raises(UnreadableKeySetError, match="compressed"):
        await fetched(await serve(handler))


async def test_nobody_there_is_a_phrase(serve):
    with pytest.raises(UnreadableKeySetError, match="connection failed: "):
        await fetched("http://127.0.0.1:1/keys")


async def test_a_file_is_read_anew_each_time_and_only_a_safe_one(tmp_path):
    path = tmp_path / "keys.json"
    read = from_file(path)
    with pytest.raises(UnreadableKeySetError, match="cannot be read"):
        await read()
    for kid in ("a", "b"):
        path.write_bytes(document(kid))
        assert await read() == document(kid)
    path.chmod(0o666)
    with pytest.raises(UnreadableKeySetError, match="users other than its owner can write"):
        await read()
    path.chmod(0o600)
    path.write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(UnreadableKeySetError, match="larger than"):
        await read()
    with pytest.raises(UnreadableKeySetError, match="regular file"):
        await from_file(tmp_path)()


# Through a proxy ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def forward_proxy(monkeypatch):
    """A proxy that rejects, and records its requests."""
    asked = []

    async def answer(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:hunter2@127.0.0.1:{port}")
    for name in ("https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield asked, port
    server.close()
    await server.wait_closed()


async def test_R24_keys_come_through_the_proxy_without_its_password(forward_proxy):
    asked, port = forward_proxy
    url = "https://login.example/keys"
    with pytest.raises(UnreadableKeySetError) as caught:
        await fetched(url)
    assert str(caught.value) == f"{url} through the proxy http://127.0.0.1:{port}: the proxy returned status 407"
    assert asked[0].startswith(b"CONNECT login.example:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic " in asked[0]


async def test_a_host_that_NO_PROXY_names_is_asked_directly(forward_proxy, monkeypatch):
    asked, _ = forward_proxy
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(UnreadableKeySetError, match="keys: connection failed"):
        await fetched("https://127.0.0.1:1/keys")
    assert asked == []


async def test_a_proxy_that_cannot_be_used_is_named_as_the_cause(monkeypatch):
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(UnreadableKeySetError, match="HTTPS_PROXY must be http://HOST:PORT"):
        await fetched("https://login.example/keys")


# Unusable key sets are logged -----------------------------------------------------------------------------------------


def unusable():
    return json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}, {"kty": "RSA", "use": "enc"}]}).encode()


async def test_a_set_without_a_usable_key_is_an_error_of_one_line(keys, issuer, clock, captured_logs):
    issuer.content = unusable()
    assert await keys.find(wanted("a")) is None
    assert keys.problem.startswith("none of its 2 keys can be used with EdDSA: entry 1 contains a private key")
    for _ in range(3):
        clock.advance(COOLDOWN)
        await keys.read_now()
    assert [(line["log_level"], line["event"]) for line in captured_logs] == [("error", "no usable issuer key")]
    issuer.content = document("a")
    await keys.read_now()
    assert (keys.problem, keys.kids) == ("", ["a"])


async def test_an_unusable_key_is_a_warning_and_the_others_serve(keys, issuer, captured_logs):
    both = json.loads(document("a"))["keys"] + json.loads(unusable())["keys"]
    issuer.content = json.dumps({"keys": both}).encode()
    assert await keys.find(wanted("a")) is not None
    assert keys.problem == ""
    assert len(keys.left_out) == 1
    warned = [line for line in captured_logs if line["log_level"] == "warning"]
    assert [(line["event"], line["problem"]) for line in warned] == [("issuer key unusable", keys.left_out[0])]


async def test_a_failed_fetch_is_an_error_while_cached_keys_serve(keys, issuer, clock):
    await keys.find(wanted("a"))
    assert keys.problem == ""
    issuer.content = UnreadableKeySetError("status 500 instead of 200")
    await keys.read_now()
    assert keys.problem == "status 500 instead of 200"
    assert keys.peek(wanted("a")) is not None


# Without kid ----------------------------------------------------------------------------------------------------------


async def test_R10_a_replaced_key_without_kid_is_fetched_as_rarely(keys, issuer, clock):
    nameless = WantedKey(None, "EdDSA")
    first = await keys.find(nameless)
    assert await keys.find_newer(nameless) is None
    assert issuer.readings == 1, "a fetch was made a moment ago"
    clock.advance(COOLDOWN)
    assert await keys.find_newer(nameless) is None
    for _ in range(5):
        clock.advance(COOLDOWN)
        assert await keys.find_newer(nameless) is None
    assert issuer.readings == 2, "and not again at once"
    issuer.content = document("x", "b").replace(b'"keys": [{', b'"keys": [7, {')
    clock.advance(UNKNOWN_FOR)
    assert await keys.find_newer(nameless) is None, "of two keys none"
    issuer.content = json.dumps({"keys": json.loads(document("a", "b"))["keys"][1:]}).encode()
    clock.advance(COOLDOWN)
    newer = await keys.find_newer(nameless)
    assert newer.material != first.material


async def test_a_fetch_continues_the_trace_and_hides_its_path(serve):
    seen, spans = [], []

    async def handler(request):
        seen.append(request.headers.get("traceparent"))
        return web.Response(body=document("a"))

    url = await serve(handler)
    with Tracer(spans.append, share=0.0).root("request") as root:
        await fetched(url)
    await fetched(url)
    fetch, _ = spans
    assert seen == [f"00-{root.context.trace_id}-{fetch.context.span_id}-03", None]
    assert fetch.parent.span_id == root.context.span_id
    assert fetch.attributes == {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": int(url.split(":")[2].split("/")[0]),
        "http.response.status_code": 200,
    }
