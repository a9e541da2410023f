"""Policies in the folders of an editor: where their files are, and their bytes on disk."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote_to_bytes, urlsplit

from sidecar.policy.diagnostics import FILES, MODEL_FILE, POLICY_FILES, POLICY_FOLDER
from sidecar.sources.policy_files import PolicyFiles, read_policy_files, stamp_of

MAX_DEPTH: Final = 4
MAX_VISITED: Final = 2_000
"""Maximum folders that a search visits."""
MAX_FOUND: Final = 20
"""Maximum policies per root."""
COMPLETE: Final = ("policy.csv", "roles.toml", "sections.toml")
"""Files that make a folder a policy, wherever it is."""


@dataclass(frozen=True, slots=True)
class Location:
    """Location of one policy: its folder, and its model."""

    policy_dir: Path
    model: Path

    def path(self, name: str) -> Path:
        return self.model if name == MODEL_FILE else self.policy_dir / name

    def name_of(self, path: Path) -> str | None:
        """Return the bare name of one of the policy's files, or None for another file."""
        return next((name for name in FILES if self.path(name) == path), None)


@dataclass(frozen=True, slots=True)
class Override:
    """Places that the user has given, relative to each root; None to search."""

    policy_dir: str | None = None
    model: str | None = None


def path_of_uri(uri: str) -> Path | None:
    """Return the path of a ``file:`` URI, or None for any other URI."""
    try:
        parts = urlsplit(uri)
        path = os.fsdecode(unquote_to_bytes(parts.path))
    except (ValueError, UnicodeError):
        return None
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or "\0" in path or not path.startswith("/"):
        return None
    return Path(os.path.normpath(path))


def uri_of_path(path: Path) -> str:
    return "file://" + quote(os.fsencode(path))


def locate(root: Path, override: Override) -> list[Location]:
    """Return the policies of a root: the configured one, the root's own, or otherwise those found below it."""
    if override.policy_dir is not None:
        folder = root / override.policy_dir
        return [Location(folder, _model_of(folder, root, override))]
    for folder in (root / POLICY_FOLDER, root):
        if any((folder / name).is_file() for name in POLICY_FILES):
            return [Location(folder, _model_of(folder, root, override))]
    return [Location(folder, _model_of(folder, root, override)) for folder in _search(root)][:MAX_FOUND]


def location_beside(path: Path) -> Location | None:
    """Return the policy of an opened file outside all roots, or None if its folder is no policy."""
    folder = path.parent / POLICY_FOLDER if path.name == MODEL_FILE else path.parent
    if path.name not in FILES or not (folder.name == POLICY_FOLDER or _is_complete(folder)):
        return None
    return Location(folder, _model_of(folder, folder.parent, Override()))


def _model_of(folder: Path, root: Path, override: Override) -> Path:
    if override.model is not None:
        return root / override.model
    inside = folder / MODEL_FILE
    return inside if inside.is_file() and not (folder.parent / MODEL_FILE).is_file() else folder.parent / MODEL_FILE


def _is_complete(folder: Path) -> bool:
    return all((folder / name).is_file() for name in COMPLETE)


def _search(root: Path) -> Iterator[Path]:
    visited, level = 0, [root]
    for _ in range(MAX_DEPTH):
        following: list[Path] = []
        for folder in level:
            for child in _subfolders(folder):
                visited += 1
                if visited > MAX_VISITED:
                    return
                if _is_complete(child):
                    yield child
                else:
                    following.append(child)
        level = following


def _subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, without hidden ones, links and installed packages."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
    return [folder / name for name in names if not name.startswith(".") and name not in ("node_modules", "__pycache__")]


class Disk:
    """Files of a policy on disk, read again if they have changed."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._read: PolicyFiles | None = None

    def read(self) -> PolicyFiles:
        place = self._location
        if self._read is None or not self._read.still_holds(stamp_of(place.policy_dir, place.model)):
            self._read = read_policy_files(place.policy_dir, place.model, self._read)
        return self._read


def decoded(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the text of files. Bytes that are no UTF-8 are replaced."""
    return {name: data.decode("utf-8", "replace") for name, data in files.items()}
