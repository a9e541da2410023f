"""A gateway with the section in its configuration: `/check/sections/…` has no method, so the browser's headers about
the requesting page must be forwarded (R5).
"""

from collections.abc import Callable, Iterator

import pytest

from tests.gateways.rig.bench import Bench, Lane
from tests.gateways.rig.judge import reason_of
from tests.gateways.rig.outcomes import MEDIA
from tests.gateways.rig.programs import PROGRAMS
from tests.gateways.rig.rows import ORIGIN, request, websocket

SECTION = "/check/sections/media-library"
EDITS = {
    "nginx": ("http://sidecar/check/nginx;", f"http://sidecar{SECTION};"),
    "traefik": ('/check"', f'{SECTION}"'),
    "caddy": ("uri /check?", f"uri {SECTION}?"),
    "envoy": ("path_prefix: /check/envoy", f"path_override: {SECTION}"),
    "haproxy": ('/check"', f'{SECTION}"'),
}
EVIL, OURS = "Origin: https://evil.example", f"Origin: {ORIGIN}"
NAVIGATE = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")


def named(written: str, section: str) -> Callable[[str], str]:
    return lambda text: text.replace(written, section)


@pytest.fixture(scope="module")
def lanes(bench: Bench) -> Iterator[dict[str, Lane]]:
    here = [name for name in EDITS if PROGRAMS[name].find()]
    yield {name: bench.start(name, edit=named(*EDITS[name]), ready=401) for name in here}


@pytest.fixture
def lane(lanes: dict[str, Lane], gateway: str) -> Lane:
    if gateway not in lanes:
        pytest.skip(PROGRAMS[gateway].missing)
    return lanes[gateway]


@pytest.mark.parametrize("gateway", EDITS)
@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ((), True),
        ((OURS,), True),
        (("Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors"), True),
        (("Sec-Fetch-Site: none", *NAVIGATE), True),
        (("Sec-Fetch-Site: cross-site", *NAVIGATE), True),
        (("Sec-Fetch-Site: cross-site", *NAVIGATE, EVIL), False),
        (("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"), False),
        (("Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors"), False),
        ((EVIL,), False),
        (("Origin: null",), False),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_R5_what_a_browser_says_of_the_page_reaches_the_sidecar(
    bench: Bench, lane: Lane, method: str, headers: tuple[str, ...], allowed: bool
) -> None:
    answers = len(lane.relay.answers)
    raw = request(MEDIA, *headers, method=method, cookie="marketer")
    response, arrivals = lane.ask(raw.replace(b"<<marketer>>", bench.cast.tokens["marketer"].encode()))
    told = [reason_of(answer) for answer in lane.relay.answers[answers:]]
    assert (response.status, len(arrivals), told) == ((200, 1, ["allowed"]) if allowed else (403, 0, ["cross_site"]))


@pytest.mark.parametrize("gateway", EDITS)
def test_R5_a_websocket_of_another_page_is_no_reading(bench: Bench, lane: Lane) -> None:
    token = bench.cast.tokens["marketer"].encode()
    for header, status in ((EVIL, 403), (OURS, 101)):
        raw = websocket(MEDIA, header, cookie="marketer").replace(b"<<marketer>>", token)
        assert lane.ask(raw)[0].status == status
