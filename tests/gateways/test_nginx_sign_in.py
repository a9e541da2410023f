"""nginx redirects browsers to the sign-in page by itself, with one line of its configuration uncommented."""

from collections.abc import Iterator

import pytest

from tests.gateways.rig.bench import Bench, Lane
from tests.gateways.rig.judge import judge
from tests.gateways.rig.outcomes import BILLING, MARKETER, MEDIA, NOT_THEIRS
from tests.gateways.rig.rows import Row, request

HTML = "Accept: text/html,application/xhtml+xml;q=0.9"
COMMENTED = "#error_page 401 = @sign_in;"


@pytest.fixture(scope="module")
def lane(bench: Bench) -> Iterator[Lane]:
    def uncomment(text: str) -> str:
        assert COMMENTED in text
        return text.replace(COMMENTED, COMMENTED[1:])

    yield bench.start("nginx", edit=uncomment)


def test_a_page_leads_to_the_sign_in_page(lane: Lane) -> None:
    response, arrivals = lane.ask(request(BILLING + "?a=1&b=%0d%0a", HTML))
    assert (response.status, arrivals) == (302, [])
    assert response.value("location") == "/login"


@pytest.mark.parametrize(
    "raw",
    [
        request(BILLING),
        request(BILLING, "Accept: application/json"),
        request(BILLING, HTML, method="POST", body="a=1"),
        request(BILLING, HTML, "Authorization: Bearer garbage"),
    ],
    ids=["no accept", "json", "form", "token"],
)
def test_anything_else_is_still_a_401(lane: Lane, raw: bytes) -> None:
    response, arrivals = lane.ask(raw)
    assert (response.status, arrivals) == (401, [])
    assert (response.value("www-authenticate") or "").startswith('Bearer realm="sidecar"')


def test_who_is_known_is_led_nowhere(bench: Bench, lane: Lane) -> None:
    judge(bench, lane, Row("library", request(MEDIA, HTML, cookie="marketer"), MARKETER))
    judge(bench, lane, Row("billing", request(BILLING, HTML, cookie="marketer"), NOT_THEIRS))
