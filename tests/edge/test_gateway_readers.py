"""Each adapter reads its own header family and nothing else."""

import pytest

from sidecar.edge.gateways import forwarded, nginx, section
from sidecar.edge.original import OVERRIDES, overrides_method
from sidecar.vocabulary.access import Route, Target
from sidecar.vocabulary.decision import Reason

FORWARDED = [(b"X-Forwarded-Method", b"GET"), (b"X-Forwarded-Uri", b"/dashboard/billing/?a=/b")]
ORIGINAL = [(b"X-Original-Method", b"POST"), (b"X-Original-URI", b"/dashboard/users")]


def test_each_family_is_read_alone() -> None:
    both = FORWARDED + ORIGINAL
    assert forwarded.read(both) == Route("GET", "/dashboard/billing/")
    assert nginx.read(both) == Route("POST", "/dashboard/users")


def test_no_fallback_to_another_family() -> None:
    assert forwarded.read(ORIGINAL) is Reason.BAD_REQUEST
    assert nginx.read(FORWARDED) is Reason.BAD_REQUEST
    assert nginx.read([(b"X-Original-Method", b"GET"), (b"X-Original-URL", b"/dashboard/users")]) is Reason.BAD_REQUEST
    assert nginx.read([(b"X-Original-Method", b"GET"), (b"X_Original_URI", b"/dashboard/users")]) is Reason.BAD_REQUEST


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_header_is_a_bad_request(missing: int) -> None:
    assert forwarded.read([FORWARDED[1 - missing]]) is Reason.BAD_REQUEST


@pytest.mark.parametrize("doubled", [0, 1])
def test_a_doubled_header_is_a_bad_request(doubled: int) -> None:
    assert forwarded.read([*FORWARDED, FORWARDED[doubled]]) is Reason.BAD_REQUEST


@pytest.mark.parametrize("uri", [b"", b"http://other/dashboard", b"*", b"dashboard", b"?a=b"])
def test_a_target_without_a_path_is_a_bad_request(uri: bytes) -> None:
    assert forwarded.read([FORWARDED[0], (b"X-Forwarded-Uri", uri)]) is Reason.BAD_REQUEST


def test_an_empty_method_is_a_bad_request() -> None:
    assert forwarded.read([(b"X-Forwarded-Method", b""), FORWARDED[1]]) is Reason.BAD_REQUEST


@pytest.mark.parametrize("name", sorted(OVERRIDES))
def test_R2_method_overrides_are_seen_in_any_case(name: bytes) -> None:
    assert overrides_method([*FORWARDED, (name.upper(), b"DELETE")])
    assert not overrides_method(FORWARDED)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/check/sections/billing", Target("billing", "view")),
        ("/check/sections/billing/change-plan", Target("billing", "change-plan")),
        ("/check/sections/", Reason.BAD_REQUEST),
        ("/check/sections//view", Reason.BAD_REQUEST),
        ("/check/sections/billing/", Reason.BAD_REQUEST),
        ("/check/sections/billing/view/x", Reason.BAD_REQUEST),
        ("/check/other", Reason.BAD_REQUEST),
    ],
)
def test_section_paths(path: str, expected: Target | Reason) -> None:
    assert section.read(path) == expected
