"""Each adapter reads its own header family and no other header."""

import pytest

from sidecar.domain.access import RequestPath, Target
from sidecar.domain.decision import Reason
from sidecar.gateways.adapter import MAX_PATH, OVERRIDES
from sidecar.gateways.ext_authz import gateway_call
from sidecar.http.headers import RawHeaders


def read(path: str, headers: RawHeaders = (), *, method: str = "GET") -> RequestPath | Target | Reason:
    path, _, query = path.partition("?")
    call = gateway_call(method, path, query, headers)
    return call.family.read(call)


FORWARDED = [(b"X-Forwarded-Method", b"GET"), (b"X-Forwarded-Uri", b"/dashboard/billing/?a=/b")]
ORIGINAL = [(b"X-Original-Method", b"POST"), (b"X-Original-URI", b"/dashboard/users")]


def test_each_family_is_read_alone() -> None:
    both = FORWARDED + ORIGINAL
    assert read("/check", both) == RequestPath("GET", "/dashboard/billing/")
    assert read("/check/nginx", both) == RequestPath("POST", "/dashboard/users")


METHOD, URI = FORWARDED
UNREADABLE: dict[str, tuple[str, RawHeaders]] = {
    "the other family at /check": ("/check", ORIGINAL),
    "the other family at nginx": ("/check/nginx", FORWARDED),
    "a similar name of the URI": ("/check/nginx", [ORIGINAL[0], (b"X-Original-URL", b"/dashboard/users")]),
    "a name with underscores": ("/check/nginx", [ORIGINAL[0], (b"X_Original_URI", b"/dashboard/users")]),
    "no method": ("/check", [URI]),
    "no URI": ("/check", [METHOD]),
    "two methods": ("/check", [*FORWARDED, METHOD]),
    "two URIs": ("/check", [*FORWARDED, URI]),
    "an empty method": ("/check", [(b"X-Forwarded-Method", b""), URI]),
    **{
        f"{uri.decode() or 'an empty text'} as URI": ("/check", [METHOD, (b"X-Forwarded-Uri", uri)])
        for uri in (b"", b"http://other/dashboard", b"*", b"dashboard", b"?a=b")
    },
}


@pytest.mark.parametrize(("path", "headers"), UNREADABLE.values(), ids=UNREADABLE)
def test_headers_without_one_route_are_a_bad_request(path: str, headers: RawHeaders) -> None:
    assert read(path, headers) is Reason.BAD_REQUEST


@pytest.mark.parametrize("name", sorted(OVERRIDES))
def test_R2_method_overrides_are_seen_in_any_case(name: bytes) -> None:
    line = (name.upper(), b"DELETE")
    assert read("/check", [*FORWARDED, line]) is Reason.BAD_REQUEST
    assert read("/check/nginx", [*ORIGINAL, line]) is Reason.BAD_REQUEST
    assert read("/check/envoy/dashboard/billing", [line]) is Reason.BAD_REQUEST
    assert read("/check/sections/billing", [line]) is Reason.BAD_REQUEST


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
    assert read(path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/check/envoy/dashboard/billing", RequestPath("POST", "/dashboard/billing")),
        ("/check/envoy/dashboard/billing?section=media-library", RequestPath("POST", "/dashboard/billing")),
        ("/check/envoy//dashboard", RequestPath("POST", "//dashboard")),
        ("/check/envoy/../livez", RequestPath("POST", "/../livez")),
        ("/check/envoy/", RequestPath("POST", "/")),
        ("/check/envoy", Reason.BAD_REQUEST),
        ("/check/envoy*", Reason.BAD_REQUEST),
        ("/check/envoydashboard", Reason.BAD_REQUEST),
    ],
)
def test_envoy_asks_with_the_request_line_itself(path: str, expected: RequestPath | Reason) -> None:
    headers = [*FORWARDED, *ORIGINAL]
    assert read(path, headers, method="POST") == expected


def test_envoy_without_a_method_is_a_bad_request() -> None:
    assert read("/check/envoy/dashboard", method="") is Reason.BAD_REQUEST


INGRESS = [
    (b"X-Original-Method", b"POST"),
    (b"X-Original-URI", b"/dashboard/users?a=//b"),
    (b"X-Original-URL", b"https://dash.example/dashboard/users?a=//b"),
    (b"X-Sent-From", b"nginx-ingress-controller"),
]


def test_ingress_nginx_is_read_when_its_two_headers_agree() -> None:
    assert read("/check/nginx", INGRESS) == RequestPath("POST", "/dashboard/users")


@pytest.mark.parametrize(
    ("index", "line"),
    [
        (1, (b"X-Original-URI", b"/login")),
        (2, (b"X-Original-URL", b"https://dash.example/login")),
        (2, (b"X-Original-URL", b"/dashboard/users?a=//b")),
        (2, (b"X-Original-URL", b"https:///dashboard/users?a=//b")),
        (2, (b"X-Original-URL", b"")),
        (2, (b"X-Original-URLs", b"https://dash.example/dashboard/users?a=//b")),
    ],
)
def test_ingress_nginx_headers_from_a_client_are_rejected(index: int, line: tuple[bytes, bytes]) -> None:
    assert read("/check/nginx", [*INGRESS[:index], line, *INGRESS[index + 1 :]]) is Reason.BAD_REQUEST
    assert read("/check/nginx", [*INGRESS, INGRESS[index]]) is Reason.BAD_REQUEST


def test_plain_nginx_reads_no_original_url() -> None:
    assert read("/check/nginx", [*ORIGINAL, (b"X-Original-URL", b"https://a/login")]) == RequestPath(
        "POST", "/dashboard/users"
    )


def test_no_path_under_check_is_anything_but_a_gateway_call() -> None:
    for path in ("/check/", "/check/nginx/", "/check/Envoy/x", "/check/../v1/me", "/check//", "/check/sections"):
        assert read(path, [*FORWARDED, *ORIGINAL]) is Reason.BAD_REQUEST


def test_R16_a_path_that_no_server_would_take_is_a_bad_request() -> None:
    longest = "/" + "a" * (MAX_PATH - 1)
    for path in (longest, f"{longest}?{'q' * 10_000}"):
        assert read("/check", [FORWARDED[0], (b"X-Forwarded-Uri", path.encode())]) == RequestPath("GET", longest)
        assert read(f"/check/envoy{path}") == RequestPath("GET", longest)
    for path in (f"{longest}a", "/" * 30_000, "/" + "%41" * 3000):
        assert read("/check", [FORWARDED[0], (b"X-Forwarded-Uri", path.encode())]) is Reason.BAD_REQUEST
        assert read("/check/nginx", [ORIGINAL[0], (b"X-Original-URI", path.encode())]) is Reason.BAD_REQUEST
        assert read(f"/check/envoy{path}") is Reason.BAD_REQUEST
