"""Policy files as one byte string: a line of JSON with names and lengths, then the bytes of the files."""

import hashlib
import json
from collections.abc import Mapping
from typing import Final

MAX_BYTES: Final = 8 * 1024 * 1024
"""Largest packed policy that a store takes."""


class UnpackError(ValueError):
    """Raised for bytes that are no packed policy."""


def header_of(files: Mapping[str, bytes]) -> bytes:
    """Return the first line of the packed files, with its line feed."""
    return json.dumps([[name, len(files[name])] for name in sorted(files)]).encode("ascii") + b"\n"


def pack(files: Mapping[str, bytes]) -> bytes:
    """Pack the files. Equal files give equal bytes."""
    return b"".join((header_of(files), *(files[name] for name in sorted(files))))


def unpack(raw: bytes) -> dict[str, bytes]:
    """Return the files of packed bytes. Raises UnpackError."""
    header, _, content = raw.partition(b"\n")
    files: dict[str, bytes] = {}
    try:
        for name, length in json.loads(header):
            files[str(name)], content = content[:length], content[length:]
    except (ValueError, TypeError):
        raise UnpackError("the bytes are no packed policy") from None
    return files


def digest_of(packed: bytes) -> str:
    """Return the SHA-256 of packed files, as hex."""
    return hashlib.sha256(packed).hexdigest()
