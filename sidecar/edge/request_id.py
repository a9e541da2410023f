"""The request id: a well-formed one is echoed, anything else replaced, because it goes to logs and headers."""

import re
from itertools import count
from secrets import token_hex

from sidecar.edge.credentials import RawHeaders

FORM = re.compile(rb"[A-Za-z0-9._-]{1,128}")
REPEATED = re.compile(rb"[ -~]{1,1024}")

_process = token_hex(6)
_numbers = count(1)


def request_id_of(headers: RawHeaders) -> str:
    """The first X-Request-ID when it is well formed, else one of ours."""
    for name, value in headers:
        if name.lower() == b"x-request-id":
            return value.decode("ascii") if FORM.fullmatch(value) else new_request_id()
    return new_request_id()


def repeated_request_id(headers: RawHeaders) -> str:
    """As above, for AuthZEN: an identifier there is an arbitrary string, and every one MUST come back. So any that is
    printable ASCII does, up to 1,024 characters; the rest cannot be put into a header or a log safely."""
    for name, value in headers:
        if name.lower() == b"x-request-id":
            return value.decode("ascii") if REPEATED.fullmatch(value) else new_request_id()
    return new_request_id()


def new_request_id() -> str:
    """Unique, not secret: 48 random bits of this process and a running number. A tenth of what token_hex costs."""
    return f"{_process}-{next(_numbers):x}"
