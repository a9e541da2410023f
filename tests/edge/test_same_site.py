"""R5: what a cookie authenticates must come from the dashboard itself, unless it only reads."""

import pytest

from sidecar.edge.same_site import origin_of, same_site

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
