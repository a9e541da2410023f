"""The request id: a well-formed one is echoed, anything else replaced, because it goes to logs and headers."""

import re
from secrets import token_hex

from sidecar.edge.credentials import RawHeaders

FORM = re.compile(rb"[A-Za-z0-9._-]{1,128}")


def request_id_of(headers: RawHeaders) -> str:
    """The first X-Request-ID when it is well formed, else sixteen random hexadecimal digits."""
    for name, value in headers:
        if name.lower() == b"x-request-id":
            return value.decode("ascii") if FORM.fullmatch(value) else token_hex(8)
    return token_hex(8)
