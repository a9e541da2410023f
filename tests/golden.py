"""Recorded checks of gateways, with placeholders for the parts that differ between runs. Used by the recording and the
replaying tests.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "checks" / "golden"
DIVIDER = "\n==== answer ====\n"
DROPPED = ("date", "server", "x-request-id", "x-forwarded-server", "x-envoy-expected-rq-timeout-ms", "connection")

ROWS = (
    "marketer GET media-library/view",
    "marketer POST media-library/upload",
    "marketer GET billing/view",
    "accountant POST billing/change-plan",
    "anonymous GET",
    "a browser opens a page",
    "a script asks for HTML",
    "public page",
    "token garbage",
    "another scheme beside a cookie",
    "cookie among others",
    "cookie beside a token",
    "cookie twice",
    "cross-site POST that says nothing",
    "cross-site POST from us",
    "cross-site POST from elsewhere",
    "websocket",
    "websocket by cookie from us",
    "websocket by cookie from elsewhere",
    "path double slashes",
    "path dot-dot",
    "path encoded semicolon",
    "path out of the prefix",
    "path library, query with dots",
    "spoofed all six",
    "spoofed both families",
    "spoofed X-Original-URL to the library",
    "spoofed override X-HTTP-Method",
    "spoofed a probe",
    "method HEAD /dashboard/media-library/ 0",
    "method HEAD /dashboard/billing/ 0",
    "method OPTIONS as a preflight",
)
"""Rows of the table to record: one of each kind."""


@dataclass(frozen=True, slots=True)
class Golden:
    """Check and response, both with placeholders."""

    check: str
    answer: str

    def text(self) -> str:
        return f"{self.check}{DIVIDER}{self.answer}"


def path_of(gateway: str, row: str) -> Path:
    return FOLDER / gateway / (re.sub(r"[^a-z0-9]+", "-", row.lower()).strip("-") + ".http")


def load(path: Path) -> Golden:
    check, _, answer = path.read_text().partition(DIVIDER)
    return Golden(check, answer)


def every() -> Iterable[Path]:
    return sorted(FOLDER.glob("*/*.http"))


def named(raw: bytes, tokens: Mapping[str, str], ids: Mapping[str, str]) -> str:
    """Return ``raw`` with placeholders for tokens and ids, headers sorted, addresses as documented."""
    text = raw.decode("latin-1")
    for name, token in tokens.items():
        text = text.replace(token, f"<<{name}>>")
    for value, name in ids.items():
        text = text.replace(value, f"<<{name}>>")
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:9181", text)
    text = re.sub(r"(?mi)^(x-forwarded-for: ).*$", r"\g<1>192.0.2.1\r", text)
    text = re.sub(
        r"(X-Auth-Generation: |\"generation\":\")[0-9a-f]{32}", r"\g<1><<generation>>", text, flags=re.IGNORECASE
    )
    head, _, body = text.partition("\r\n\r\n")
    start, *lines = head.split("\r\n")
    kept = [line.strip() for line in lines if line.partition(":")[0].lower() not in DROPPED]
    kept.sort(key=lambda line: line.partition(":")[0].lower())
    return "\n".join((start, *kept, "", body))


def raw_of(check: str, tokens: Mapping[str, str]) -> bytes:
    """Return the check as bytes again, with tokens that are valid in this run."""
    for name, token in tokens.items():
        check = check.replace(f"<<{name}>>", token)
    head, _, body = check.partition("\n\n")
    return (head.replace("\n", "\r\n") + "\r\n\r\n" + body).encode("latin-1")
