"""Last valid policy, stored in the state directory as exact bytes, for a start with an invalid file.

One private file (0600), replaced as a whole: a line of JSON with names and lengths, then the bytes. The stored policy
is compiled again like any other policy and is never trusted as compiled (R25).
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sidecar.policy.transfer.packing import UnpackError, header_of, unpack
from sidecar.sources.policy_files import read_policy_files
from sidecar.sources.private_files import PrivateFileError, make_private_directory, read_private, replace_private
from sidecar.telemetry.app_log import logger

NAME = "last-good-policy"
MAX_BYTES = 64 * 1024 * 1024

_log = logger("server")


def keep(state_dir: Path, files: Mapping[str, bytes]) -> None:
    """Replace the stored copy. Raises OSError if the state directory is not writable."""
    make_private_directory(state_dir)
    replace_private(state_dir / NAME, header_of(files), *(files[name] for name in sorted(files)))


def kept(state_dir: Path) -> dict[str, bytes] | None:
    """Return the stored copy, or None if there is none. Raises OSError or PrivateFileError for an unusable copy."""
    path = state_dir / NAME
    try:
        raw, _ = read_private(path, limit=MAX_BYTES)
    except FileNotFoundError:
        return None
    try:
        return unpack(raw)
    except UnpackError:
        raise PrivateFileError(f"{path}: is not a stored policy: remove the file") from None


def report_another(state_dir: Path, policy_dir: Path, model: Path) -> None:
    """Log an error when the stored copy differs from the files to be used: the directory may be missing or another."""
    with suppress(OSError, PrivateFileError):  # the activation reports an unusable copy
        stored = kept(state_dir)
        if stored is not None and stored != read_policy_files(policy_dir, model).files:
            _log.error(
                "another policy was in force: start in its directory, or set SIDECAR_POLICY_DIR and SIDECAR_MODEL",
                served=str(policy_dir),
                kept=str(state_dir / NAME),
            )
