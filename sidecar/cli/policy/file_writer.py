"""Atomic replacement of one file."""

import os
import tempfile
from pathlib import Path
from typing import Final

from sidecar.cli.output import usage_error

NEW_MODE: Final = 0o644


def write_file(path: Path, content: bytes) -> None:
    """Write the file atomically. An existing one keeps its mode; behind a symbolic link, the target is replaced."""
    path = path.resolve()
    try:
        descriptor, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            Path(aside).chmod(path.stat().st_mode & 0o7777 if path.exists() else NEW_MODE)
            Path(aside).replace(path)
        except OSError:
            Path(aside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise usage_error(f"{path}: {error.strerror}") from error
