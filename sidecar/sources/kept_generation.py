"""Record of the active generation, kept in the state directory beside the last good policy.

One private file (0600): the fields of the record as JSON. It names the counter below which no generation is taken, also
after a restart and for a store that went back (R44). The files are in last_known_good.py.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sidecar.sources.private_files import PrivateFileError, make_private_directory, read_private, replace_private

NAME: Final = "active-generation"


def keep_record(state_dir: Path, fields: Mapping[str, str]) -> None:
    """Replace the kept record. Raises OSError if the state directory is not writable."""
    make_private_directory(state_dir)
    replace_private(state_dir / NAME, json.dumps(dict(fields), ensure_ascii=False).encode("utf-8") + b"\n")


def kept_record(state_dir: Path) -> dict[str, str] | None:
    """Return the fields, or None without a record. Raises OSError or PrivateFileError for an unusable file."""
    path = state_dir / NAME
    try:
        raw, _ = read_private(path)
    except FileNotFoundError:
        return None
    try:
        found = json.loads(raw)
        return {str(name): str(value) for name, value in found.items()}
    except (ValueError, AttributeError):
        raise PrivateFileError(f"{path}: is no record of a generation: remove the file") from None
