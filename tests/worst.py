"""Worst-case input of 60 KB: texts, JSON bodies, forms, queries and request heads, by name of their kind."""

import base64
import json
from itertools import cycle, islice
from time import thread_time
from typing import Final

SIZE: Final = 60_000
"""Bytes of a body: SIDECAR_MAX_BODY is 64 KiB."""

LINE: Final = 30_000
"""Bytes of a header or a request target: SIDECAR_MAX_HEAD is 32 KiB."""

MARKS: Final = {
    "marks in descending classes": "\u0344" * 14_000 + "\u0334" * 14_000,
    "marks in mixed classes": "\u0301\u0327\u0334\u0345" * 7_000,
    "marks of class 0": "\u0f73\u0334" * 7_000,
    "halfwidth voiced marks": "\uff9e\u0334" * 7_000,
}
UNITS: Final = {
    "Hangul": "\uac01",
    "jamo": "\u1100\u1161\u11a8",
    "a ligature of 18 letters": "\ufdfa",
    "a ligature of 8 letters": "\ufdfb",
    "squared words": "\u331f",
    "letters of three parts": "\u0390",
    "Arabic": "\u0627\u0644",
    "Han": "\u4e2d",
    "capital sigma": "\u03a3'",
    "emoji": "\U0001f469\u200d",
    "surrogates, escaped": "\ud83d",
    "dots": ".",
    "words and dots": "ab.",
    "ideographic dots": "\u3002",
    "at signs": "@",
    "mailboxes": "a@b.example,",
    "commas": ",",
    "semicolons": "a;",
    "slashes": "/a",
    "backslashes": "\\",
    "quotes": '"',
    "spaces": " a",
    "line ends": "\r\n",
    "NUL": "\0",
    "percent signs": "%",
    "escapes": "%41",
    "escaped bytes": "%ff",
    "plus signs": "+",
    "equals signs": "=",
    "brackets": "[",
    "braces": '{"a":',
    "digits": "1",
    "letters": "a",
    "underscores": "inv_aaaaaaaaaaaa_",
    "colons": "::1",
}


def texts(size: int = SIZE) -> dict[str, str]:
    """Return every kind, each as long as fits into `size` bytes of UTF-8, and tokens of the maximum length."""
    made = {name: _fitting("a" + run, size) for name, run in MARKS.items()}
    for name, run in MARKS.items():  # at each limit on the length of a string
        for length in (100, 320, 1024, 3072, 8192, 16_000):
            made[f"{name}, {length} characters"] = "a" + run[: length // 2] + run[-(length // 2) + 1 :]
    runs = {f"{name}, thirty at a time": "a" + _spread(run) for name, run in MARKS.items()}
    made |= {name: _fitting(unit * size, size) for name, unit in {**UNITS, **runs}.items()}
    short = {name: unit for name, unit in {**UNITS, **runs}.items() if not unit.isascii() or "." in unit}
    for name, unit in short.items():
        made[f"an address of {name}"] = f"{_fitting(unit * 40, 150)}@{_fitting(unit * 40, 150)}"
        made[f"a password of {name}"] = "".join(islice(cycle(unit), 3072))
    made |= {f"a token of {name}": token for name, token in tokens().items()}
    return made


def tokens() -> dict[str, str]:
    """Return access tokens of 16,000 characters with the worst JSON as header or payload."""
    whole = {"alg": "EdDSA", "typ": "at+jwt", "kid": "k"}
    found = {}
    for name, part in json_bodies(5_500).items():
        found[f"{name} as its header"] = f"{_b64(part)}.{_b64(json.dumps(whole).encode())}.{_b64(b's' * 64)}"
        found[f"{name} as its payload"] = f"{_b64(json.dumps(whole).encode())}.{_b64(part)}.{_b64(b's' * 64)}"
    found["dots"] = "." * 16_000
    found["a long signature"] = f"{_b64(b'{}')}.{_b64(b'{}')}.{_b64(b's' * 11_000)}"
    return found


def json_bodies(size: int = SIZE) -> dict[str, bytes]:
    """Return whole bodies that cost a parser the most."""
    bodies = {
        "nested arrays": "[" * size,
        "nested and closed": "[" * (size // 2) + "]" * (size // 2),
        "nested objects": '{"a":' * (size // 5),
        "members": "{" + ",".join(f'"{number}":1' for number in range(size // 9)) + "}",
        "one member again and again": "{" + ",".join(['"a":1'] * (size // 6)) + "}",
        "empty arrays": "[" + "[]," * (size // 3 - 1) + "[]]",
        "empty objects": "[" + "{}," * (size // 3 - 1) + "{}]",
        "arrays within the depth": "[" * 14 + "[]," * (size // 3 - 10) + "[]" + "]" * 14,
        "empty strings": "[" + '"",' * (size // 3 - 1) + '""]',
        "integers": "[" + "0," * (size // 2 - 1) + "0]",
        "long integers": "[" + ",".join(["1" * 4299] * (size // 4300)) + "]",
        "a number of digits": "1" * size,
        "fractions": "[" + "1.5," * (size // 4 - 1) + "1]",
        "tiny fractions": "[" + "1e-300," * (size // 7 - 1) + "1]",
        "long fractions": "[" + ",".join(["0." + "7" * 300] * (size // 303)) + "]",
        "a fraction without end": "0." + "7" * (size - 2),
        "an exponent": "1e" + "9" * (size - 2),
        "escapes": '"' + "\\u0041" * (size // 6) + '"',
        "escaped surrogates": '{"a":"' + "\\ud83d\\ude00" * (size // 12) + '"}',
        "strings of escaped surrogates": "[" + '"\\ud83d\\ude00",' * (size // 15) + '""]',
        "escaped quotes without an end": '"' + '\\"' * (size // 2),
        "half a string": '{"a":"' + "a" * size,
        "blanks": " " * size,
        "not UTF-8": "[" + "\xff" * size,
        "words": "[" + "true," * (size // 5 - 1) + "true]",
    }
    return {name: body.encode("latin-1")[:size] for name, body in bodies.items()}


def forms(names: tuple[str, ...], size: int = SIZE) -> dict[str, bytes]:
    """Return whole forms: each of the fields `names` with each kind of text."""
    made = {
        "ampersands": "&" * size,
        "fields": "&".join(f"a{number}=1" for number in range(size // 9)),
        "one field again and again": "a=1&" * (size // 4),
        "semicolons": "a=1;" * (size // 4),
    }
    for name in names:
        for kind in ("escapes", "escaped bytes", "percent signs", "plus signs", "equals signs", "dots", "letters"):
            made[f"{kind} in {name}"] = f"{name}=" + UNITS[kind] * ((size - len(name)) // len(UNITS[kind]) - 1)
        made[f"escaped marks in {name}"] = f"{name}=a" + "%CD%84" * 4500 + "%CC%B4" * 4500
    shared = size // len(names) - 20 if names else 0
    made["escapes in all of them"] = "&".join(f"{name}=" + "%41" * (shared // 3) for name in names)
    return {name: form.encode("ascii")[:size] for name, form in made.items()}


LISTS: Final = {
    "letters": "a",
    "commas": ",",
    "semicolons": ";",
    "spaces": " a",
    "quotes": '"',
    "cookies": "a=b; ",
    "cookies of ours": "sidecar=a; ",
    "media types": "text/plain;q=0.1,",
}
ADDRESSES: Final = {
    "addresses": "2001:db8::1,",
    "short addresses": "::1,",
    "trusted addresses": "127.0.0.1,",
    "addresses with ports": "[2001:db8::1]:4711,",
    "letters and commas": "a,",
    "addresses and commas": "1.1.1.1" + "," * 500,
    "zones": "fe80::1%" + "a" * 1000 + ",",
    "digits": "1",
    "colons": ":",
}


def lines(name: str, size: int = LINE) -> dict[str, bytes]:
    """Return values for the header `name`: lists of every kind, and tokens where the header carries a token."""
    units = LISTS | (ADDRESSES if "forwarded" in name or name == "host" else {})
    filled = {kind: (unit * (size // len(unit)))[:size].encode("ascii") for kind, unit in units.items()}
    if "forwarded" in name:
        filled |= {f"{kind}, then an address": line + b",127.0.0.1" for kind, line in list(filled.items())}
    before = {"authorization": b"Bearer ", "cookie": b"__Host-sidecar="}.get(name)
    if before is not None:
        filled |= {f"a token of {kind}": before + token.encode() for kind, token in tokens().items()}
    return filled | {"bytes": b"\xe4" * size}


def targets(size: int = LINE) -> dict[str, str]:
    """Return values for a path segment or a query."""
    units = (
        "a",
        "a.",
        "..",
        "%41",
        "%ff",
        "%2e",
        "a/",
        "/",
        "&",
        "a=1&",
        "=",
        "%",
        "+",
        "(",
        "~",
        "a;b=",
        "%C3%A9",
        "%ef%bd%81",
        "%CD%84%CC%B4",
    )
    return {unit: (unit * (size // len(unit)))[:size] for unit in units}


def _fitting(text: str, size: int) -> str:
    return text.encode("utf-8", "surrogatepass")[:size].decode("utf-8", "ignore") or text[: size // 3]


def _spread(run: str) -> str:
    return run[: len(run) // 2][-15:] + run[len(run) // 2 :][:15]


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


REFERENCE_TEXT = json.dumps([{"number": number, "text": "é" * 20} for number in range(200)])
REFERENCE_SECONDS = 0.0011
"""Ten times `json.loads` of the text, on the machine for which the budget was set."""


def slowness() -> float:
    """Return how much slower than the reference this machine is now, at least 1."""
    took = []
    for _ in range(7):
        before = thread_time()
        for _ in range(10):
            json.loads(REFERENCE_TEXT)
        took.append(thread_time() - before)
    return max(1.0, min(took) / REFERENCE_SECONDS)
