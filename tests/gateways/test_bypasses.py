"""Each published bypass of a gateway or of its authorization server, tried at every gateway.

A test has the number of the advisory in its name, and its docstring describes the defect.
"""

from collections.abc import Mapping

import pytest

from tests.gateways.rig.backend import Arrival
from tests.gateways.rig.bench import Bench, Lane
from tests.gateways.rig.judge import IDENTITY, assert_clean, assert_identity, identity
from tests.gateways.rig.outcomes import BILLING, MEDIA
from tests.gateways.rig.rows import request
from tests.gateways.rig.wire import Response

ENVOYS = ("envoy", "envoy-grpc")
ADMIN = "account-administrator"


@pytest.fixture
def lane(bench: Bench, gateway: str) -> Lane:
    return bench.lane(gateway)


@pytest.fixture
def tokens(bench: Bench) -> Mapping[str, str]:
    return bench.cast.tokens


def send(lane: Lane, tokens: Mapping[str, str], raw: bytes) -> tuple[Response, list[Arrival]]:
    for name, token in tokens.items():
        raw = raw.replace(f"<<{name}>>".encode(), token.encode())
    return lane.ask(raw)


def kept_out(
    lane: Lane, tokens: Mapping[str, str], *targets: str, token: str = "", headers: tuple[str, ...] = ()
) -> None:
    """Assert that an anonymous client, or the holder of ``token``, reaches none of ``targets``."""
    for target in targets:
        response, arrivals = send(lane, tokens, request(target, *headers, token=token))
        assert not arrivals, (target, [arrival.head for arrival in arrivals])
        assert response.status not in range(200, 300), target


def let_in(bench: Bench, lane: Lane, raw: bytes, role: str = "marketer", section: str = "media-library") -> Arrival:
    """Assert that the request reaches the back end with the sidecar's identity headers alone."""
    response, arrivals = send(lane, bench.cast.tokens, raw)
    assert (response.status, len(arrivals)) == (200, 1)
    assert_clean(arrivals[0])
    assert_identity(arrivals[0], identity(bench.cast, role, section, "view"))
    return arrivals[0]


def test_CVE_2021_32637_a_malformed_url_is_a_denial(lane: Lane, tokens: Mapping[str, str]) -> None:
    """Authelia (GHSA-68wm-pfjf-wqp6): a URL that could not be parsed got 200 behind nginx."""
    malformed = ("/dashboard/billing%", "/dashboard/billing%zz", "/%", "/\\", "/dashboard/bil ling", "/[", "/::")
    kept_out(lane, tokens, *malformed)
    kept_out(lane, tokens, *malformed, token="marketer")


def test_CVE_2026_40575_a_client_names_no_path_by_header(lane: Lane, tokens: Mapping[str, str]) -> None:
    """oauth2-proxy: the client's X-Forwarded-Uri was taken for the path, and a public one skipped the check."""
    for name in ("X-Forwarded-Uri", "X-Original-URI", "X-Original-URL", "X-Rewrite-URL"):
        headers = (f"{name}: /login", "X-Forwarded-Method: GET", "X-Original-Method: GET")
        kept_out(lane, tokens, BILLING, headers=headers)


def test_CVE_2025_54576_the_query_makes_nothing_public(lane: Lane, tokens: Mapping[str, str]) -> None:
    """oauth2-proxy (GHSA-7rh7-c77v-6434): the pattern of public paths was matched on path and query."""
    queries = ("/login", "x=/assets/app.js", "/check/sections/media-library", "x&method=OPTIONS")
    kept_out(lane, tokens, *(f"{BILLING}?{query}" for query in queries))


def test_CVE_2026_41059_a_fragment_makes_nothing_public(lane: Lane, tokens: Mapping[str, str]) -> None:
    """oauth2-proxy: ``#`` in the path widened the pattern of public paths."""
    ways = (BILLING + "#/login", "/login#/../dashboard/billing", BILLING + "%23/login")
    kept_out(lane, tokens, *ways, "/assets/%23/../../dashboard/billing", "/login%23/../dashboard/billing")


def test_CVE_2026_34457_no_user_agent_is_a_health_check(lane: Lane, tokens: Mapping[str, str]) -> None:
    """oauth2-proxy: the User-Agent of a load balancer's probe was an allow under auth_request."""
    for agent in ("GoogleHC/1.0", "kube-probe/1.33", "ELB-HealthChecker/2.0", "sidecar health"):
        kept_out(lane, tokens, BILLING, "/", "/livez", "/readyz", "/healthz", headers=(f"User-Agent: {agent}",))


def test_CVE_2025_64484_CVE_2026_52845_GHSA_5m6w_wvh7_57vm_alias(bench: Bench, lane: Lane) -> None:
    """oauth2-proxy, Caddy with FastCGI, Traefik: X_Auth_User was not removed, and a back end reads it as
    X-Auth-User.
    """
    aliases = [f"{name.title().replace('-', '_')}: evil" for name in IDENTITY] + [
        "X-Auth_User: evil",
        "x_auth-role: evil",
    ]
    raw = request(MEDIA, *aliases, token="marketer")
    if lane.name in ENVOYS:
        response, arrivals = send(lane, bench.cast.tokens, raw)
        assert (response.status, arrivals) == (400, [])
    else:
        let_in(bench, lane, raw)


def test_GHSA_p224_6x5r_fjpm_CVE_2026_42274_dot_segments_denied(lane: Lane, tokens: Mapping[str, str]) -> None:
    """Oathkeeper and Heimdall matched their rules on the raw path: ``/public/../admin`` was public."""
    ways = ("/assets/../dashboard/billing", "/assets/%2e%2e/dashboard/billing", "/assets/..%2fdashboard/billing")
    ways += ("/assets/x/../../dashboard/billing", "/login/../dashboard/billing", "/assets/..;/dashboard/billing")
    kept_out(lane, tokens, *ways, "/assets/%252e%252e/dashboard/billing/..", "/assets/..\\dashboard\\billing")


def test_CVE_2026_32811_the_query_is_no_part_of_the_path(bench: Bench, lane: Lane) -> None:
    """Heimdall over gRPC encoded the ``?`` into the path, so that rules with a last part did not match."""
    arrival = let_in(bench, lane, request(MEDIA + "?a=/dashboard/billing&b=?", token="marketer"))
    assert arrival.target == MEDIA + "?a=/dashboard/billing&b=?"
    kept_out(lane, bench.cast.tokens, BILLING + "?" + MEDIA, BILLING + "%3f" + MEDIA, token="marketer")


def test_GHSA_vhr5_ggp3_qq85_a_clients_scheme_changes_nothing(bench: Bench, lane: Lane) -> None:
    """Oathkeeper used X-Forwarded-Proto although it was configured not to trust it."""
    for scheme in ("https", "http", "wss", "evil"):
        headers = (f"X-Forwarded-Proto: {scheme}", "X-Forwarded-Host: evil.example", "X-Forwarded-Port: 1")
        kept_out(lane, bench.cast.tokens, BILLING, token="marketer", headers=headers)
        let_in(bench, lane, request(MEDIA, *headers, token="marketer"))


def test_CVE_2021_32701_GHSA_4mq7_pvjg_xp2r_cached_token_limited(bench: Bench, lane: Lane) -> None:
    """Oathkeeper's cache of introspected tokens ignored the requested scope and issuer."""
    for _ in range(3):
        let_in(bench, lane, request(MEDIA, token="marketer"))
        kept_out(lane, bench.cast.tokens, BILLING, token="marketer")
        let_in(bench, lane, request(BILLING, token="accountant"), "accountant", "billing")
        kept_out(lane, bench.cast.tokens, MEDIA, token="accountant")
        kept_out(lane, bench.cast.tokens, MEDIA, token="wrong-issuer")
        kept_out(lane, bench.cast.tokens, MEDIA, token="wrong-audience")


def test_GHSA_w9mr_28mw_j8hg_CVE_2024_45410_headers_not_stripped(bench: Bench, lane: Lane) -> None:
    """Oathkeeper and Traefik: ``Connection: X-Forwarded-Host`` made the proxy remove its own header."""
    for named in (*IDENTITY, "x-forwarded-uri", "x-forwarded-method", "x-original-uri", "x-original-method"):
        headers = (f"Connection: keep-alive, {named}",)
        let_in(bench, lane, request(MEDIA, *headers, token="marketer"))
        kept_out(lane, bench.cast.tokens, BILLING, token="marketer", headers=headers)
    upgrade = (f"Connection: upgrade, {', '.join(IDENTITY)}", "Upgrade: h2c")
    response, arrivals = send(lane, bench.cast.tokens, request(MEDIA, *upgrade, token="marketer"))
    for arrival in arrivals:
        assert_identity(arrival, identity(bench.cast, "marketer", "media-library", "view"))
    assert response.status in (101, 200, 400, 403)


def test_CVE_2026_26205_two_slashes_are_no_authority(lane: Lane, tokens: Mapping[str, str]) -> None:
    """opa-envoy-plugin parsed ``//admin/x`` as host ``admin`` and path ``/x``."""
    ways = ("//dashboard/login", "//dashboard/billing", "//x/login", "///login", "//dashboard/billing/assets/app.js")
    kept_out(lane, tokens, *(way for way in ways if way != "///login" or lane.name not in ("traefik", *ENVOYS)))
    kept_out(lane, tokens, "//x@y/dashboard/billing", "//dashboard//billing", token="marketer")


def test_CVE_2026_63177_what_no_section_claims_is_denied(lane: Lane, tokens: Mapping[str, str]) -> None:
    """Malcolm: nginx chose its location by the decoded path, the check saw the raw one, and unmatched was an allow."""
    ways = ("/", "/admin", "/dashboard", "/dashboard/", "/dashboard/unknown", "/DASHBOARD/billing", "/%64ashboardx")
    kept_out(lane, tokens, *ways)
    kept_out(lane, tokens, *ways, token=ADMIN)


def test_CVE_2026_25748_a_malformed_cookie_is_no_session(lane: Lane, tokens: Mapping[str, str]) -> None:
    """authentik: a malformed cookie got 200 and no headers."""
    ours = ("__Host-sidecar", "__Host-sidecar=", "__Host-sidecar=\x01", "__Host-sidecar=%00")
    for cookie in (*ours, "=", ";;;", '"', "a=b=c; ="):
        kept_out(lane, tokens, MEDIA, BILLING, headers=(f"Cookie: {cookie}",))


def test_CVE_2026_30851_an_empty_identity_is_not_the_clients(bench: Bench, lane: Lane) -> None:
    """Caddy's copy_headers left the client's header in place if the response had none (2.10.0 to 2.11.1)."""
    spoofed = tuple(f"{name}: evil" for name in IDENTITY)
    response, arrivals = send(lane, bench.cast.tokens, request("/login", *spoofed))
    assert (response.status, len(arrivals)) == (200, 1)
    assert_identity(arrivals[0], {})
    let_in(bench, lane, request(MEDIA, *spoofed, token="marketer"))  # this e-mail is not verified


def test_CVE_2026_31908_CVE_2026_39998_header_injection_fails(bench: Bench, lane: Lane) -> None:
    """APISIX forward-auth: values with line ends became headers, and the client's identity headers stayed."""
    for end in ("\r", "\x00", "%0d%0a", "\x0b", "\x85"):
        value = f"a{end}X-Auth-Role: evil"
        headers = (f"X-Request-ID: {value}", f"Cookie: a={value}", "X-Auth-Role: evil")
        _, arrivals = send(lane, bench.cast.tokens, request(MEDIA, *headers, token="marketer"))
        for arrival in arrivals:
            assert_identity(arrival, identity(bench.cast, "marketer", "media-library", "view"))


def test_CVE_2025_32431_CVE_2025_66490_CVE_2026_40912_CVE_2026_48020_GHSA_6384_m2mw_rf54(
    lane: Lane, tokens: Mapping[str, str]
) -> None:
    """Traefik: ``/../``, encoded characters, stripped prefixes and X-Forwarded-Prefix gave middleware and back end two
    views of one path.
    """
    encoded = [MEDIA + "..%2Fbilling", MEDIA + "%2e%2e%2Fbilling", "/dashboard%2Fbilling", "/dashboard/billing%3B"]
    encoded += [MEDIA + "..%5Cbilling", "/dashboard/billing%00", "/dashboard/billing%23x", "/dashboard/billing%3Fx"]
    plain = [MEDIA + "../billing", "/assets/../dashboard/billing", MEDIA + "x/../../billing"]
    kept_out(lane, tokens, *encoded, *plain, token="marketer")
    kept_out(lane, tokens, "/billing", BILLING, token="marketer", headers=("X-Forwarded-Prefix: /dashboard",))


def test_CVE_2019_9901_CVE_2021_29492_CVE_2021_32777_CVE_2021_32779(lane: Lane, tokens: Mapping[str, str]) -> None:
    """Envoy: paths were not normalised, escaped slashes not decoded, ``#`` not cut, and of repeated headers only the
    last was sent to ext_authz.
    """
    ways = (MEDIA + "%2e%2e%2fbilling", MEDIA + "..%5cbilling", BILLING + "#" + MEDIA, MEDIA + "#/../billing")
    kept_out(lane, tokens, *ways, token="marketer")
    good, bad = "Authorization: Bearer <<marketer>>", f"Authorization: Bearer <<{ADMIN}>>"
    kept_out(lane, tokens, BILLING, headers=(good, bad))
    kept_out(lane, tokens, BILLING, headers=(bad, good))


def test_CVE_2023_27488_CVE_2024_23324_non_utf8_opens_nothing(bench: Bench, lane: Lane) -> None:
    """Envoy: a header that is not UTF-8 could not be put into the gRPC check, and failure_mode_allow forwarded the
    request.
    """
    for header in ("X-A: \xff\xfe", "Cookie: a=\xff", "Origin: \x80", "Accept: \xc3"):
        kept_out(lane, bench.cast.tokens, BILLING, headers=(header,))
        kept_out(lane, bench.cast.tokens, BILLING, token="marketer", headers=(header,))
    let_in(bench, lane, request(MEDIA, "X-A: \xff\xfe", token="marketer"))


def test_CVE_2026_26308_CVE_2026_31838_repeated_values_denied(lane: Lane, tokens: Mapping[str, str]) -> None:
    """Istio and Envoy RBAC compared one of several values of a header, the back end read another."""
    good, other = "Authorization: Bearer <<marketer>>", f"Authorization: Bearer <<{ADMIN}>>"
    for headers in ((good, other), (other, good), (f"{good}, Bearer <<{ADMIN}>>",), (good, good)):
        kept_out(lane, tokens, MEDIA, BILLING, headers=headers)
    mine, theirs = "__Host-sidecar=<<marketer>>", f"__Host-sidecar=<<{ADMIN}>>"
    for cookies in ((f"Cookie: {mine}; {theirs}",), (f"Cookie: {theirs}", f"Cookie: {mine}")):
        kept_out(lane, tokens, MEDIA, BILLING, headers=cookies)


def test_CVE_2023_33189_a_crafted_request_is_no_other_route(lane: Lane, tokens: Mapping[str, str]) -> None:
    """Pomerium decided about one route and served another."""
    ways = ("http://dash.example/dashboard/billing", "http://login/dashboard/billing", "http://x:80/dashboard/billing")
    kept_out(lane, tokens, *ways, "http://dash.example//dashboard/billing", token="marketer")
    raw = request(BILLING, token="marketer", host="login")
    assert send(lane, tokens, raw)[1] == []


def test_CVE_2021_41230_a_change_is_seen_at_once(bench: Bench, gateway: str) -> None:
    """Pomerium kept allowing by the session's state at its start."""
    lane = bench.lane(gateway)
    sidecar, admin = bench.sidecar, bench.cast.tokens[ADMIN]
    person = bench.joins(f"changing-{gateway}", "marketer")
    raw = request(MEDIA).replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer " + person.token.encode() + b"\r\n\r\n")
    assert lane.ask(raw)[0].status == 200
    sidecar.call("PATCH", f"/v1/users/{person.id}", {"role": "accountant"}, token=admin)
    response, arrivals = lane.ask(raw)
    assert (response.status, arrivals) == (403, [])
    sidecar.call("PATCH", f"/v1/users/{person.id}", {"role": "developer"}, token=admin)
    response, arrivals = lane.ask(raw)
    assert [arrival.values("x-auth-role") for arrival in arrivals] == [["developer"]]
    sidecar.call("DELETE", f"/v1/users/{person.id}", token=admin)
    response, arrivals = lane.ask(raw)
    assert (response.status, arrivals) == (401, [])
