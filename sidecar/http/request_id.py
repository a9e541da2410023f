"""Request id: a well-formed one is echoed, any other is replaced, because it goes to logs and headers."""

import re
from itertools import count
from secrets import token_hex

from sidecar.http.headers import RawHeaders

FORM = re.compile(rb"[A-Za-z0-9._-]{1,128}")
REPEATED = re.compile(rb"[ -~]{1,1024}")

_process = token_hex(6).encode()
_numbers = count(1)


def request_id_of(headers: RawHeaders) -> bytes:
    """Return the first X-Request-ID if it is well formed, else a new one."""
    return _first(headers, FORM)


def repeated_request_id(headers: RawHeaders) -> bytes:
    """Return the first X-Request-ID if it is printable ASCII of at most 1,024 characters, else a new one.

    For AuthZEN, in which an identifier is an arbitrary string and MUST be returned. Other values cannot be put into a
    header or a log safely.
    """
    return _first(headers, REPEATED)


def accepted(value: bytes, form: re.Pattern[bytes] = FORM) -> bytes:
    """Return the client's request id if it is safe to log, else a new one."""
    return value if form.fullmatch(value) else new_request_id()


def new_request_id() -> bytes:
    """Return a unique id, which is not secret: 48 random bits per process and a counter. Costs a tenth of token_hex."""
    return b"%b-%x" % (_process, next(_numbers))


def _first(headers: RawHeaders, form: re.Pattern[bytes]) -> bytes:
    for name, value in headers:
        if name.lower() == b"x-request-id":
            return accepted(value, form)
    return new_request_id()
