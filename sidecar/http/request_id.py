"""The request id: a well-formed one is echoed, anything else replaced, because it goes to logs and headers."""

import re
from itertools import count
from secrets import token_hex

from sidecar.http.headers import RawHeaders

FORM = re.compile(rb"[A-Za-z0-9._-]{1,128}")
REPEATED = re.compile(rb"[ -~]{1,1024}")

_process = token_hex(6).encode()
_numbers = count(1)


def request_id_of(headers: RawHeaders) -> bytes:
    """The first X-Request-ID when it is well formed, else one of ours."""
    return _first(headers, FORM)


def repeated_request_id(headers: RawHeaders) -> bytes:
    """As above, for AuthZEN: an identifier there is an arbitrary string, and every one MUST come back. So any that is
    printable ASCII does, up to 1,024 characters; the rest cannot be put into a header or a log safely."""
    return _first(headers, REPEATED)


def accepted(given: bytes, form: re.Pattern[bytes] = FORM) -> bytes:
    """What a client sent, when it may go to a log; else one of ours."""
    return given if form.fullmatch(given) else new_request_id()


def new_request_id() -> bytes:
    """Unique, not secret: 48 random bits of this process and a running number. A tenth of what token_hex costs."""
    return b"%b-%x" % (_process, next(_numbers))


def _first(headers: RawHeaders, form: re.Pattern[bytes]) -> bytes:
    for name, value in headers:
        if name.lower() == b"x-request-id":
            return accepted(value, form)
    return new_request_id()
