"""Bytes that two programs could frame differently. A request hidden in them must not reach the back end."""

from collections.abc import Iterator
from dataclasses import replace

from tests.gateways.rig.outcomes import BILLING, MARKETER, MEDIA, REFUSED, UPLOAD, malformed
from tests.gateways.rig.rows import Allow, Deny, Outcome, Row

HIDDEN = f"GET {BILLING} HTTP/1.1\r\nHost: dash.example\r\nX-Auth-Role: evil\r\n\r\n"
TOKEN = "Authorization: Bearer <<marketer>>\r\n"
NOT_IMPLEMENTED = Deny(501)
NO_SUCH_VERSION = Deny(505)


def row(name: str, text: str, expect: Outcome = REFUSED, **but: Outcome) -> Row:
    return Row(f"wire {name}", text.encode("latin-1"), expect, but)


def post(name: str, headers: str, body: str = HIDDEN, expect: Outcome = REFUSED, **but: Outcome) -> Row:
    text = f"POST {MEDIA} HTTP/1.1\r\nHost: dash.example\r\n{TOKEN}{headers}\r\n\r\n{body}"
    return replace(row(name, text, expect, **but), settle=0.1)


def get(name: str, headers: str, expect: Outcome = REFUSED, **but: Outcome) -> Row:
    text = f"GET {MEDIA} HTTP/1.1\r\nHost: dash.example\r\n{TOKEN}{headers}\r\n\r\n"
    return row(name, text, expect, **but)


def wire() -> Iterator[Row]:
    yield from framing()
    yield from headers()
    yield from request_lines()


def framing() -> Iterator[Row]:
    both = f"Content-Length: {5 + len(HIDDEN)}\r\nTransfer-Encoding: chunked"
    # Programs that accept it read "chunked" and treat the rest as a separate request.
    taken: dict[str, Outcome] = {"traefik": UPLOAD, "caddy": UPLOAD, "haproxy": UPLOAD}
    yield post("length and chunked", both, f"0\r\n\r\n{HIDDEN}", **taken)
    yield post("two lengths", f"Content-Length: 0\r\nContent-Length: {len(HIDDEN)}")
    yield post("a list of lengths", f"Content-Length: 0, {len(HIDDEN)}")
    yield post("chunked in disguise", f"Content-Length: {len(HIDDEN)}\r\nTransfer-Encoding : chunked")
    unknown: dict[str, Outcome] = dict.fromkeys(("nginx", "traefik", "caddy", "envoy"), NOT_IMPLEMENTED)
    yield post("unknown coding", "Transfer-Encoding: xchunked", f"0\r\n\r\n{HIDDEN}", **unknown)
    yield post("negative length", "Content-Length: -1")
    pipelined = f"Content-Length: 3\r\n\r\na=1{HIDDEN}"
    text = f"POST {MEDIA} HTTP/1.1\r\nHost: dash.example\r\n{TOKEN}{pipelined}"
    yield replace(row("pipelined", text, UPLOAD), settle=0.1)


def headers() -> Iterator[Row]:
    yield get("space before the colon", "X-Auth-Role : evil")
    unfolded: dict[str, Outcome] = dict.fromkeys(("traefik", "caddy", "envoy", "haproxy"), MARKETER)
    yield get("folded header", "X-A: b\r\n X-Auth-Role: evil", **unfolded)
    yield get("NUL in a header", "X-A: b\x00c", haproxy=malformed(403))
    yield get("bare CR in a header", "X-A: b\rX-Auth-Role: evil", envoy=MARKETER)
    yield get("bytes above ASCII in a header", "X-A: \xff\xfe", MARKETER)
    delete: dict[str, Outcome] = {"nginx": malformed(500), "haproxy": malformed(403)}
    yield get("control character in a cookie", "Cookie: a=\x7f", **delete)
    long = "X-A: " + "x" * 40960
    yield get(
        "forty kilobytes of header",
        long,
        traefik=malformed(400),
        caddy=Deny(431),
        haproxy=malformed(403),
        envoy=MARKETER,
        **{"envoy-grpc": Deny(403, "bad_request")},  # over SIDECAR_MAX_HEAD
    )
    many = "\r\n".join(f"X-{number}: 1" for number in range(200))
    many_but: dict[str, Outcome] = {"nginx": malformed(500), "traefik": malformed(400), "caddy": malformed(400)}
    yield get("two hundred headers", many, **many_but, envoy=Deny(431))
    bearer = "Authorization: Bearer \xff\xfe"
    text = f"GET {MEDIA} HTTP/1.1\r\nHost: dash.example\r\n{bearer}\r\n\r\n"
    yield row("bytes above ASCII in the token", text, Deny(401, "malformed_token"))


def request_lines() -> Iterator[Row]:
    def line(name: str, first: str, expect: Outcome = REFUSED, **but: Outcome) -> Row:
        return row(name, f"{first}\r\nHost: dash.example\r\n{TOKEN}\r\n", expect, **but)

    yield row("no host", f"GET {MEDIA} HTTP/1.1\r\n{TOKEN}\r\n")
    two = f"GET {MEDIA} HTTP/1.1\r\nHost: dash.example\r\nHost: other.example\r\n{TOKEN}\r\n"
    yield row("two hosts", two, envoy=MARKETER)
    yield line("space in the target", f"GET {MEDIA} {BILLING} HTTP/1.1")
    old = Allow("marketer", "media-library", "view")
    yield line("old protocol", f"GET {MEDIA} HTTP/1.0", old, envoy=Deny(426))
    newer: dict[str, Outcome] = dict.fromkeys(("nginx", "traefik", "caddy"), NO_SUCH_VERSION)
    yield line("newer protocol than there is", f"GET {MEDIA} HTTP/9.9", MARKETER, **newer, envoy=Deny(426))
    yield line("no protocol", f"GET {MEDIA}", nginx=Deny(0, "missing_token"), envoy=Deny(426))
