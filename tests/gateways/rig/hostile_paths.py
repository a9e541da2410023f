"""The marketer may view the library and not billing. Paths that a program may read as billing, then paths that a
program may read as the library. Traefik and Envoy normalise, so that both they and the back end see the plain path.
"""

from collections.abc import Iterator

from tests.gateways.rig.outcomes import (
    AMBIGUOUS,
    BILLING,
    MARKETER,
    MEDIA,
    NOT_THEIRS,
    REFUSED,
    UNMATCHED,
    malformed,
)
from tests.gateways.rig.rows import Allow, Deny, Outcome, Row, request


def row(name: str, target: str | bytes, expect: Outcome, **but: Outcome) -> Row:
    return Row(f"path {name}", request(target, token="marketer"), expect, but)


def library(target: str = MEDIA) -> Allow:
    return Allow("marketer", "media-library", "view", target)


def normalised(outcome: Outcome) -> dict[str, Outcome]:
    return {"traefik": outcome, "envoy": outcome}


def paths() -> Iterator[Row]:
    yield row("plain", "/dashboard/billing", NOT_THEIRS)
    yield from slashes_and_dots()
    yield from encodings()
    yield from unclear_ends()
    yield from other_endpoints()
    yield from the_library()


def slashes_and_dots() -> Iterator[Row]:
    billing = normalised(NOT_THEIRS)
    yield row("double slashes", "//dashboard//billing", AMBIGUOUS, **billing)
    yield row("leading double slash", "//dashboard/billing/", AMBIGUOUS, **billing)
    yield row("double slash and dot-dot", "//media-library/../dashboard/billing", AMBIGUOUS, **billing)
    yield row("dot-dot", MEDIA + "../billing", AMBIGUOUS, **billing)
    yield row("encoded dot-dot", MEDIA + "%2e%2e/billing", AMBIGUOUS, **billing)
    yield row("half encoded dot-dot", MEDIA + ".%2E/billing", AMBIGUOUS, **billing)
    yield row("dot-dot at the end", MEDIA + "x/../../billing/..", AMBIGUOUS, **normalised(UNMATCHED))
    yield row("single dot", "/dashboard/./billing", AMBIGUOUS, **billing)
    yield row("dot-dot with a parameter", MEDIA + "..;/billing", AMBIGUOUS, envoy=NOT_THEIRS)
    yield row("backslashes", MEDIA + "\\..\\..\\billing", AMBIGUOUS, traefik=REFUSED, envoy=NOT_THEIRS)


def encodings() -> Iterator[Row]:
    refused = normalised(REFUSED)
    yield row("dot-dot and encoded slash", MEDIA + "..%2fbilling", AMBIGUOUS, **refused)
    yield row("dot-dot slash encoded whole", MEDIA + "%2e%2e%2fbilling", AMBIGUOUS, **refused)
    yield row("encoded slash", "/dashboard%2Fbilling", AMBIGUOUS, **refused)
    yield row("encoded backslash", MEDIA + "..%5c..%5cbilling", AMBIGUOUS, **refused)
    yield row("doubly encoded dots", MEDIA + "%252e%252e/billing", AMBIGUOUS)
    yield row("doubly encoded slash", "/dashboard%252fbilling", AMBIGUOUS)
    yield row("doubly encoded letter", "/dashboard/%2562illing", AMBIGUOUS)
    yield row("the other percent, encoded", MEDIA + "%25u002e%25u002e/billing", AMBIGUOUS)
    yield row("another case", "/DASHBOARD/billing", UNMATCHED)
    yield row("section in another case", "/dashboard/Billing", UNMATCHED)
    yield row("path parameter", "/dashboard/billing;a=1/", AMBIGUOUS)
    yield row("encoded semicolon", "/dashboard/billing%3ba", AMBIGUOUS, traefik=REFUSED)
    yield row("encoded letter", "/dashboard/%62illing", NOT_THEIRS)
    yield row("encoded NUL", "/dashboard/billing%00", AMBIGUOUS, nginx=REFUSED, **refused)
    yield row(
        "encoded NUL behind the library",
        MEDIA + "%00/../../billing",
        AMBIGUOUS,
        nginx=REFUSED,
        traefik=NOT_THEIRS,
        envoy=REFUSED,
    )
    yield row("encoded newline", "/dashboard/billing%0a", AMBIGUOUS)
    yield row("encoded tab", "/dashboard/%09billing", AMBIGUOUS)
    yield row("raw bytes above ASCII", b"/dashboard/billing\xff", AMBIGUOUS, envoy=REFUSED, haproxy=REFUSED)
    yield row("raw UTF-8", "/dashboard/billing/\u00e4".encode(), NOT_THEIRS, envoy=REFUSED, haproxy=REFUSED)
    yield row("overlong dots", MEDIA + "%c0%ae%c0%ae/billing", AMBIGUOUS)
    for name, end in (("half a percent", "%"), ("no hexadecimals", "%zz"), ("the other percent", "%u002e%u002e")):
        yield row(name, BILLING + end, AMBIGUOUS, nginx=REFUSED, traefik=REFUSED, caddy=REFUSED)


def unclear_ends() -> Iterator[Row]:
    refused = {"traefik": REFUSED, "envoy": REFUSED, "haproxy": REFUSED}
    yield row("fragment", MEDIA + "#/../../billing", AMBIGUOUS, **refused)
    yield row("fragment behind billing", BILLING + "#" + MEDIA, AMBIGUOUS, **refused)
    yield row("encoded fragment", BILLING + "%23", AMBIGUOUS, traefik=REFUSED)
    yield row("encoded question mark", BILLING + "%3f" + MEDIA, AMBIGUOUS, traefik=REFUSED)
    yield row("library in the query", BILLING + "?next=" + MEDIA, NOT_THEIRS)
    yield row("second question mark", BILLING + "??" + MEDIA, NOT_THEIRS)


def other_endpoints() -> Iterator[Row]:
    """A client's path is always a path of the dashboard, never another endpoint of the sidecar."""
    yield row("check in the path", "/check/sections/media-library", UNMATCHED)
    yield row("check of the other kind", "/check/nginx", UNMATCHED)
    yield row("out of the prefix", "/../livez", AMBIGUOUS, nginx=REFUSED, **normalised(UNMATCHED))
    out = "/../../v1/users"
    yield row("to the API", out, AMBIGUOUS, nginx=REFUSED, **normalised(NOT_THEIRS))
    yield row("ops", "/livez", UNMATCHED)
    yield row("metrics", "/metrics", UNMATCHED)
    yield row("absolute", "http://dash.example/dashboard/billing", NOT_THEIRS)
    yield row("absolute, other host", "http://other.example/dashboard/billing", NOT_THEIRS, haproxy=REFUSED)
    ours = "http://127.0.0.1:9181/check/sections/media-library"
    yield row("absolute, our own check", ours, UNMATCHED, haproxy=REFUSED)
    no_path = Deny(403, "bad_request")
    yield row("asterisk", "*", REFUSED, traefik=Deny(404), caddy=no_path, haproxy=no_path)
    yield row("no slash", "dashboard/billing", REFUSED)
    yield row("authority", "dash.example:80", REFUSED, caddy=malformed(400))


def the_library() -> Iterator[Row]:
    yield row("library plain", "/dashboard/media-library", MARKETER)
    yield row("library with a slash", MEDIA, MARKETER)
    yield row("library, query with dots", MEDIA + "a?x=/../..//", MARKETER)
    with_amp = library(MEDIA + "a?x=1&y=2")
    yield row("library, semicolon in the query", MEDIA + "a?x=1;y=2", MARKETER, traefik=with_amp)
    yield row("library, encoded space", MEDIA + "a%20b", MARKETER)
    for name in ("100%25.jpg", "50%25%20off.png", "a%25zz.txt", "%25"):
        yield row(f"library, a percent sign: {name}", MEDIA + name, MARKETER)
    yield row("library, encoded UTF-8", MEDIA + "%C3%A4", MARKETER)
    yield row("library, encoded letter", "/dashboard/media-librar%79/", MARKETER, **normalised(library()))
    behind = normalised(library())
    yield row("library behind billing", BILLING + "../media-library/", AMBIGUOUS, **behind)
    yield row("library behind double slashes", "/dashboard//media-library/", AMBIGUOUS, **behind)
    yield row("library, dot", "/dashboard/./media-library/", AMBIGUOUS, **behind)
    yield row("library, absolute", "http://dash.example/dashboard/media-library/", library())
