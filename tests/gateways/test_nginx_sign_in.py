"""nginx redirects browsers to the sign-in page by itself: SIDECAR_LOGIN_URL is for the other gateways."""

import pytest

from tests.gateways.rig.bench import Bench, Lane
from tests.gateways.rig.judge import judge
from tests.gateways.rig.outcomes import BILLING, MARKETER, MEDIA, NOT_THEIRS
from tests.gateways.rig.rows import Row, request

HTML = "Accept: text/html,application/xhtml+xml;q=0.9"


@pytest.fixture(scope="module")
def lane(bench: Bench) -> Lane:
    return bench.lane("nginx")


@pytest.mark.parametrize("told", [(), ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")], ids=["old", "new"])
def test_a_page_leads_to_the_sign_in_page(lane: Lane, told: tuple[str, ...]) -> None:
    response, arrivals = lane.ask(request(BILLING + "?a=1&b=%0d%0a&rd=//evil.example", HTML, *told))
    assert (response.status, arrivals) == (302, [])
    assert response.value("location") == f"/console/sign-in?rd={BILLING}?a=1&b=%0d%0a&rd=//evil.example"


@pytest.mark.parametrize(
    "raw",
    [
        request(BILLING),
        request(BILLING, "Accept: application/json"),
        request(BILLING, HTML, method="POST", body="a=1"),
        request(BILLING, HTML, "Authorization: Bearer garbage"),
        request(BILLING, HTML, "Sec-Fetch-Mode: cors"),
        request(BILLING, HTML, "Sec-Fetch-Dest: iframe"),
        request(BILLING, HTML, "X-Requested-With: XMLHttpRequest"),
    ],
    ids=["no accept", "json", "form", "token", "script", "frame", "older script"],
)
def test_anything_else_is_still_a_401(lane: Lane, raw: bytes) -> None:
    response, arrivals = lane.ask(raw)
    assert (response.status, arrivals) == (401, [])
    assert (response.value("www-authenticate") or "").startswith('Bearer realm="sidecar"')


def test_who_is_known_is_led_nowhere(bench: Bench, lane: Lane) -> None:
    judge(bench, lane, Row("library", request(MEDIA, HTML, cookie="marketer"), MARKETER))
    judge(bench, lane, Row("billing", request(BILLING, HTML, cookie="marketer"), NOT_THEIRS))
