"""Parser of shares, such as the share of requests that is traced."""

import re
from typing import Final

from sidecar.config.parsers import InvalidValueError

_SHARE: Final = re.compile(r"[01]|0?\.[0-9]{1,6}|1\.0")


def share(text: str) -> float:
    if not _SHARE.fullmatch(text):
        raise InvalidValueError("write a share from 0 to 1, as in 0.01")
    return float(text)
