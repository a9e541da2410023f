"""Lines of exported audits: plain files, and the standard output of sidecars as container runtimes keep it."""

import json
import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_CRI: Final = re.compile(rb"\S+ (stdout|stderr) ([PF]) (.*)", re.DOTALL)
"""Line of a container runtime on Kubernetes: time, stream, P (continued by the next line) or F, text."""


class ExportedLines:
    """Lines of several files, one after the other, and the place of each. Iterable once.

    ``mixed``: the files hold the whole standard output of sidecars. Lines that are not of the audit are left out, and
    the frames of container runtimes (CRI, Docker's ``json-file``) are removed.
    """

    def __init__(self, files: list[Path], *, mixed: bool = False) -> None:
        self._files = files
        self._mixed = mixed
        self._file, self._line = array("L"), array("L")

    def __iter__(self) -> Iterator[bytes]:
        for number, path in enumerate(self._files):
            with path.open("rb") as file:
                for at, line in _unframed(file) if self._mixed else enumerate(file, 1):
                    if self._mixed and not _is_audit(line):
                        continue
                    self._file.append(number)
                    self._line.append(at)
                    yield line

    def origin(self, line: int) -> str:
        """Return ``FILE:LINE`` of a line, which counts from 1 over all files."""
        return f"{self._files[self._file[line - 1]]}:{self._line[line - 1]}"


def _unframed(lines: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield number and text of each line without its frame. Parts of a line become one, at its last number."""
    parts: dict[bytes, bytes] = {}
    for at, line in enumerate(lines, 1):
        stream, text, ends = _frame(line)
        text = parts.pop(stream, b"") + text
        if ends:
            yield at, text
        else:
            parts[stream] = text
    for text in parts.values():
        yield at, text


def _frame(line: bytes) -> tuple[bytes, bytes, bool]:
    """Return stream, text, and whether the text ends a line."""
    if (cri := _CRI.fullmatch(line)) is not None:
        text = cri[3]
        return cri[1], text if cri[2] == b"F" else text.rstrip(b"\r\n"), cri[2] == b"F"
    if line.startswith(b'{"log"'):
        entry = _object(line)
        if isinstance(text := entry.get("log"), str) and "stream" in entry and "seq" not in entry:
            return str(entry["stream"]).encode(), text.encode(), text.endswith("\n")
    return b"", line, True


def _is_audit(line: bytes) -> bool:
    """Return whether the line is a row or a checkpoint, also a damaged one."""
    entry = _object(line)
    return {"log", "seq", "hash"} <= entry.keys() or "checkpoint" in entry


def _object(line: bytes) -> dict[str, object]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
