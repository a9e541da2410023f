"""R5: a request authenticated by a cookie must come from the dashboard itself, unless it only reads."""

import pytest

from sidecar.http.csrf import origin_of, same_site, same_site_section

ORIGINS = frozenset({"https://dash.example"})


@pytest.mark.parametrize(
    ("method", "lines", "expected"),
    [
        ("GET", [], True),
        ("HEAD", [], True),
        ("get", [], False),
        ("POST", [], False),
        ("POST", [(b"Sec-Fetch-Site", b"same-origin")], True),
        ("POST", [(b"Sec-Fetch-Site", b"same-site")], False),
        ("POST", [(b"Sec-Fetch-Site", b"none")], False),
        ("POST", [(b"Sec-Fetch-Site", b"cross-site"), (b"Sec-Fetch-Site", b"same-origin")], False),
        ("POST", [(b"Origin", b"https://dash.example")], True),
        ("POST", [(b"Origin", b"https://dash.example.evil")], False),
        ("POST", [(b"Origin", b"null")], False),
        ("POST", [(b"Origin", b"https://dash.example"), (b"Origin", b"https://evil")], False),
        ("GET", [(b"Upgrade", b"websocket")], False),
        ("GET", [(b"Upgrade", b"websocket"), (b"Origin", b"https://evil")], False),
        ("GET", [(b"Upgrade", b"websocket"), (b"Origin", b"https://dash.example")], True),
        ("GET", [(b"Sec-WebSocket-Key", b"k")], False),
        ("GET", [(b"Sec-WebSocket-Version", b"13"), (b"Origin", b"https://evil")], False),
        ("GET", [(b"Sec-WebSocket-Key", b"k"), (b"Origin", b"https://dash.example")], True),
    ],
)
def test_R5_same_site(method: str, lines: list[tuple[bytes, bytes]], expected: bool) -> None:
    assert same_site(lines, method=method, origins=ORIGINS) is expected


def test_the_origin_of_a_url_has_no_path() -> None:
    assert origin_of("https://Dash.example:8443/base/") == "https://dash.example:8443"


OURS, EVIL = (b"Origin", b"https://dash.example"), (b"Origin", b"https://evil.example")
NAVIGATE = (b"Sec-Fetch-Mode", b"navigate")


def site(value: bytes) -> tuple[bytes, bytes]:
    return (b"Sec-Fetch-Site", value)


@pytest.mark.parametrize(
    ("lines", "reads", "writes"),
    [
        ([], True, False),
        ([OURS], True, True),
        ([site(b"same-origin")], True, True),
        ([site(b"none")], True, False),
        ([site(b"none"), NAVIGATE], True, False),
        ([OURS, site(b"same-origin")], True, True),
        ([EVIL], False, False),
        ([(b"Origin", b"null")], False, False),
        ([(b"Origin", b"")], False, False),
        ([(b"Origin", b"http://dash.example")], False, False),
        ([OURS, EVIL], False, False),
        ([EVIL, site(b"same-origin")], False, False),
        ([EVIL, site(b"cross-site"), NAVIGATE], False, False),
        ([OURS, site(b"cross-site"), NAVIGATE], False, False),
        ([OURS, site(b"same-site")], False, False),
        ([site(b"cross-site")], False, False),
        ([site(b"same-site")], False, False),
        ([site(b"cross-site"), (b"Sec-Fetch-Mode", b"no-cors")], False, False),
        ([site(b"same-site"), (b"Sec-Fetch-Mode", b"cors")], False, False),
        ([site(b"cross-site"), NAVIGATE], True, False),
        ([site(b"same-site"), NAVIGATE], True, False),
        ([site(b"cross-site"), NAVIGATE, NAVIGATE], False, False),
        ([site(b"cross-site"), NAVIGATE, (b"Sec-Fetch-Mode", b"cors")], False, False),
        ([site(b"same-origin"), site(b"cross-site")], False, False),
        ([site(b"anything new")], False, False),
        ([site(b"cross-site"), NAVIGATE, (b"Upgrade", b"websocket")], False, False),
        ([(b"Sec-WebSocket-Key", b"k")], False, False),
        ([(b"Sec-WebSocket-Key", b"k"), OURS], True, True),
        ([(b"ORIGIN", b"https://evil.example")], False, False),
    ],
)
def test_R5_same_site_where_the_method_is_not_known(
    lines: list[tuple[bytes, bytes]], reads: bool, writes: bool
) -> None:
    assert same_site_section(lines, reads=True, origins=ORIGINS) is reads
    assert same_site_section(lines, reads=False, origins=ORIGINS) is writes
