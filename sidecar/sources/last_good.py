"""The last good policy, kept in the state directory: the very bytes that were in force, for a start with a bad file.

One private file (0600), replaced whole. What is read back is compiled again like any other policy, never trusted as
compiled (R25); a copy that cannot be read is as none.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sidecar.sources.private_files import PrivateFileProblem, make_private_directory, read_private, replace_private

NAME = "last-good-policy.json"
MAX_BYTES = 64 * 1024 * 1024


def keep(state_dir: Path, files: Mapping[str, bytes]) -> None:
    """Replace the kept copy. Raises OSError when the state directory cannot be written."""
    make_private_directory(state_dir)
    content = json.dumps({name: base64.b64encode(files[name]).decode("ascii") for name in sorted(files)})
    replace_private(state_dir / NAME, content.encode("ascii"))


def kept(state_dir: Path) -> dict[str, bytes] | None:
    """The kept copy, or None when there is none that can be used."""
    with suppress(OSError, PrivateFileProblem, ValueError, binascii.Error, TypeError, AttributeError):
        raw, _ = read_private(state_dir / NAME, limit=MAX_BYTES)
        return {str(name): base64.b64decode(text, validate=True) for name, text in json.loads(raw).items()}
    return None
